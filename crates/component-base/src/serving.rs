//! A component's own HTTP or HTTPS server: certificate from files (read again when they change) or self-signed,
//! client certificates, delegated authentication and authorization, health and metrics, graceful stop.

pub mod authn;
pub mod authz;
pub mod server;
pub mod tls;

pub use authn::{Authentication, AuthenticationOptions, User};
pub use authz::{Attributes, Authorization, AuthorizationOptions, Decision};
pub use server::{
    Handler, More, SecureServingOptions, Server, ServingError, answer, component_handler, serve_component,
};
