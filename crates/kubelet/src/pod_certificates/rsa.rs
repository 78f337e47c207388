//! RSA keys (RFC 8017), which ring signs with but does not make.

use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Resize};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, is_prime, sieve_and_find};

use super::der;

const EXPONENT: u64 = 65_537;

/// A new key of `bits` as RSAPrivateKey. Takes long: seconds for 4096 bits on a slow machine.
/// `None` if the primes found do not make a key, which is as good as impossible.
pub fn generate(bits: u32) -> Option<Vec<u8>> {
    let (p, q) = (prime(bits / 2)?, prime(bits / 2)?);
    // the larger one first, as the format's readers expect
    let (p, q) = if p > q { (p, q) } else { (q, p) };
    let one = BoxedUint::one_with_precision(bits / 2);
    let (p1, q1) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let modulus = p.concatenating_mul(&q);
    let private = inverse(&p1.concatenating_mul(&q1))?;
    let (dp, dq) = (inverse(&p1)?, inverse(&q1)?);
    let coefficient = Option::<BoxedUint>::from(q.invert_mod(&nonzero(&p)?))?;
    let exponent = BoxedUint::from(EXPONENT);
    let mut fields = vec![der::unsigned(&[0])];
    for number in [&modulus, &exponent, &private, &p, &q, &dp, &dq, &coefficient] {
        fields.push(der::unsigned(&number.to_be_bytes()));
    }
    Some(der::sequence(&fields.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// A prime whose two highest bits are set, so that the product of two has twice the bits; one less than it has no
/// factor in common with the exponent.
fn prime(bits: u32) -> Option<BoxedUint> {
    let mut rng = rand::rng();
    let factory = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb).ok()?;
    let fits =
        |prime: &BoxedUint| inverse(&prime.wrapping_sub(BoxedUint::one_with_precision(bits))).is_some();
    sieve_and_find(&mut rng, factory, |_, number| is_prime(Flavor::Any, number) && fits(number)).ok()?
}

fn nonzero(number: &BoxedUint) -> Option<NonZero<BoxedUint>> {
    Option::from(NonZero::new(number.clone()))
}

/// The exponent's inverse.
fn inverse(modulus: &BoxedUint) -> Option<BoxedUint> {
    let exponent = BoxedUint::from(EXPONENT).resize(modulus.bits_precision());
    Option::from(exponent.invert_mod(&nonzero(modulus)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2048 bits, as it is quicker and made no other way.
    #[test]
    fn ring_takes_the_key_and_signs_with_it() {
        let key = ring::signature::RsaKeyPair::from_der(&generate(2048).unwrap()).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        let rng = ring::rand::SystemRandom::new();
        key.sign(&ring::signature::RSA_PKCS1_SHA256, &rng, b"text", &mut signature).unwrap();
        let public = ring::signature::UnparsedPublicKey::new(
            &ring::signature::RSA_PKCS1_2048_8192_SHA256,
            key.public(),
        );
        public.verify(b"text", &signature).unwrap();
    }
}
