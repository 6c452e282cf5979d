//! Which vector instructions this machine has, and code compiled for each.
//!
//! Whatever runs here gives the same bits on all of them: IEEE additions, multiplications and
//! fused multiply-adds are exact to the last bit, and nothing reorders them.

#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

/// A set of vector instructions. Made by `Isa::best` and `Isa::available` only, so one that
/// exists is one this machine has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Isa {
    /// Returns the widest set this machine has.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if Self::Avx512.is_available() {
                return Self::Avx512;
            }
            if Self::Avx2.is_available() {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Returns whether products of many rows are fastest by the instruction for pairs of `bf16`.
    pub(crate) fn dots_pairs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            static DOTS: OnceLock<bool> = OnceLock::new();
            self == Self::Avx512 && *DOTS.get_or_init(crate::gemm::dots_pairs)
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Returns whether there is an instruction for products of bytes.
    pub(crate) fn dots_bytes(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self == Self::Avx512 && is_x86_feature_detected!("avx512vnni")
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Returns every set this machine has, for comparing them.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let all = [Self::Avx512, Self::Avx2, Self::Portable];
        #[cfg(not(target_arch = "x86_64"))]
        let all = [Self::Portable];
        all.into_iter().filter(|isa| isa.is_available()).collect()
    }

    fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Portable => true,
        }
    }
}

/// Compiles functions once for each set of vector instructions; the plain loops in them are
/// vectorised with it. `vectorised! { fn f(x: &[f32]) -> f32 { .. } }` expands to
/// `fn f(isa: Isa, x: &[f32]) -> f32`, which runs the body compiled for `isa`.
///
/// (A closure run inside a function with the instructions enabled would be simpler, but nothing
/// makes the compiler inline it, and without that `mul_add` is a call.)
macro_rules! vectorised {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$attribute])*
        $visibility fn $name(isa: $crate::isa::Isa, $($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                body($($argument),*)
            }

            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only on a machine that has it.
                #[expect(unsafe_code, reason = "calls code for instructions the machine has")]
                $crate::isa::Isa::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only on a machine that has it.
                #[expect(unsafe_code, reason = "calls code for instructions the machine has")]
                $crate::isa::Isa::Avx2 => unsafe { avx2($($argument),*) },
                $crate::isa::Isa::Portable => body($($argument),*),
            }
        }
    )*};
}

pub(crate) use vectorised;
