//! How the elements of a tensor are stored.

use std::fmt;

use half::{bf16, f16};
use openledger_core::{Error, ErrorKind, Result};

use super::blocks;

/// How the elements of a tensor are stored: as floats, or in blocks that share a scale.
///
/// Names, numbers and layouts are those of ggml (`enum ggml_type` in `ggml.h`, the structs in
/// `ggml-common.h`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum GgmlType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// 4 bits, 32 to a scale: 4.5 bits an element.
    Q4_0,
    /// 5 bits, 32 to a scale: 5.5 bits an element.
    Q5_0,
    /// 8 bits, 32 to a scale: 8.5 bits an element.
    Q8_0,
    /// 4 bits, 256 to a block of eight scales and minima: 4.5 bits an element.
    Q4K,
    /// 5 bits, 256 to a block of eight scales and minima: 5.5 bits an element.
    Q5K,
    /// 6 bits, 256 to a block of sixteen scales: 6.5625 bits an element.
    Q6K,
}

/// The types that ggml has, by their numbers, to name those that are not read.
const NAMES: [(u32, &str); 31] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (34, "TQ1_0"),
    (39, "MXFP4"),
];

impl GgmlType {
    /// All that are read.
    pub const ALL: [Self; 9] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q5_0,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    pub(super) fn from_code(code: u32) -> Result<Self> {
        Self::ALL.into_iter().find(|ty| ty.code() == code).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            let message = match NAMES.iter().find(|(number, _)| *number == code) {
                Some((_, name)) => format!("elements of type {name}; known: {known}"),
                None => format!("elements of type number {code}; known: {known}"),
            };
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    pub(super) const fn code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// Returns ggml's name, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q5_0 => "Q5_0",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Returns the number of elements stored together; rows are whole blocks.
    pub const fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Returns the bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Writes the elements stored in `bytes` to `out`.
    ///
    /// # Panics
    /// If `bytes` is not as long as the elements of `out` take.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(
            bytes.len() * self.block(),
            out.len() * self.block_bytes(),
            "bytes and elements of {self}"
        );
        match self {
            Self::F32 => floats(bytes, out, f32::from_le_bytes),
            Self::F16 => floats(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::BF16 => floats(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Self::Q4_0 => blocks::decode(bytes, out, blocks::decode_q4_0),
            Self::Q5_0 => blocks::decode(bytes, out, blocks::decode_q5_0),
            Self::Q8_0 => blocks::decode(bytes, out, blocks::decode_q8_0),
            Self::Q4K => blocks::decode(bytes, out, blocks::decode_q4_k),
            Self::Q5K => blocks::decode(bytes, out, blocks::decode_q5_k),
            Self::Q6K => blocks::decode(bytes, out, blocks::decode_q6_k),
        }
    }

    /// Appends the stored form of `elements` to `out`: rounded to the nearest float, or quantised as
    /// ggml's reference (`quantize_row_q8_0_ref`, `quantize_row_q4_0_ref`) does it, byte for byte.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for types other than F32, F16, BF16, `Q8_0` and `Q4_0`;
    /// [`ErrorKind::Invalid`] if the elements are not whole blocks, or one is not finite or too large
    /// for the type.
    pub fn encode(self, elements: &[f32], out: &mut Vec<u8>) -> Result<()> {
        if !elements.len().is_multiple_of(self.block()) {
            let (len, block) = (elements.len(), self.block());
            return Err(Error::invalid(format!("{len} elements in blocks of {block} of {self}")));
        }
        if let Some(wrong) = elements.iter().find(|x| !x.is_finite()) {
            return Err(Error::invalid(format!("an element is {wrong}")));
        }
        let start = out.len();
        match self {
            Self::F32 => out.extend(elements.iter().flat_map(|x| x.to_le_bytes())),
            Self::F16 => {
                out.extend(elements.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()));
                finite(&out[start..], |bytes| f16::from_le_bytes(bytes).is_finite(), elements)?;
            }
            Self::BF16 => {
                out.extend(elements.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()));
                finite(&out[start..], |bytes| bf16::from_le_bytes(bytes).is_finite(), elements)?;
            }
            Self::Q4_0 => blocks::encode(elements, out, blocks::encode_q4_0)?,
            Self::Q8_0 => blocks::encode(elements, out, blocks::encode_q8_0)?,
            other => {
                let message = format!("writing {other}; known: F32, F16, BF16, Q8_0, Q4_0");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        Ok(())
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn floats<const N: usize>(bytes: &[u8], out: &mut [f32], float: impl Fn([u8; N]) -> f32) {
    for (x, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *x = float(*bytes);
    }
}

fn finite(bytes: &[u8], is: impl Fn([u8; 2]) -> bool, elements: &[f32]) -> Result<()> {
    match bytes.as_chunks::<2>().0.iter().position(|bytes| !is(*bytes)) {
        Some(at) => Err(Error::invalid(format!("{} is too large for 16 bits", elements[at]))),
        None => Ok(()),
    }
}
