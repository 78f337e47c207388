//! `value!`: a tree written as JSON in code.

/// A [`Value`](crate::Value) in JSON's notation; keys are literals or `(expressions)`, values JSON or expressions.
///
/// ```
/// let name = "web";
/// let pod = api::value!({"kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}}, "list": [1, null, true]});
/// assert_eq!(pod.str_at(&["metadata", "name"]), "web");
/// ```
#[macro_export]
macro_rules! value {
    (null) => { $crate::Value::Null };
    ([]) => { $crate::Value::List(::std::vec::Vec::new()) };
    ([ $($body:tt)+ ]) => { $crate::Value::List($crate::value_list!([] [] $($body)+)) };
    ({}) => { $crate::Value::map() };
    ({ $($body:tt)+ }) => {{
        let mut map = $crate::Map::new();
        $crate::value_map!(map; $($body)+);
        $crate::Value::Map(map)
    }};
    ($other:expr) => { $crate::Value::from($other) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! value_list {
    // [finished items] [tokens of the item that is being read] the rest
    ([$($done:expr,)*] []) => { ::std::vec![$($done),*] };
    ([$($done:expr,)*] [$($item:tt)+]) => { ::std::vec![$($done,)* $crate::value!($($item)+)] };
    ([$($done:expr,)*] [$($item:tt)+] , $($rest:tt)*) => {
        $crate::value_list!([$($done,)* $crate::value!($($item)+),] [] $($rest)*)
    };
    ([$($done:expr,)*] [$($item:tt)*] $next:tt $($rest:tt)*) => {
        $crate::value_list!([$($done,)*] [$($item)* $next] $($rest)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! value_map {
    ($map:ident;) => {};
    ($map:ident; ($key:expr) : $($rest:tt)+) => { $crate::value_map!(@value $map ($key) [] $($rest)+); };
    ($map:ident; $key:literal : $($rest:tt)+) => { $crate::value_map!(@value $map ($key) [] $($rest)+); };
    (@value $map:ident ($key:expr) [$($value:tt)+]) => { $map.insert($key, $crate::value!($($value)+)); };
    (@value $map:ident ($key:expr) [$($value:tt)+] , $($rest:tt)*) => {
        $map.insert($key, $crate::value!($($value)+));
        $crate::value_map!($map; $($rest)*);
    };
    (@value $map:ident ($key:expr) [$($value:tt)*] $next:tt $($rest:tt)*) => {
        $crate::value_map!(@value $map ($key) [$($value)* $next] $($rest)*);
    };
}

#[cfg(test)]
mod tests {
    use crate::Value;

    #[test]
    fn json_in_code() {
        let n = 3;
        let made = crate::value!({"a": [1, {"b": null}, [true, "x"],], ("k".to_owned()): n + 1, "f": Some("s"), "e": {}});
        let json = serde_json::json!({"a": [1, {"b": null}, [true, "x"]], "k": 4, "f": "s", "e": {}});
        assert_eq!(made, Value::from(json));
    }
}
