#![doc = include_str!("../README.md")]

mod activation;
mod arenas;
mod attention;
mod exp;
mod gemm;
mod isa;
mod loss;
mod map;
mod norm;
mod pages;
mod products;
mod reduce;
mod room;
mod rope;
mod scratch;
mod threads;
mod weight;

pub use activation::{sigmoid, softmax, swiglu, swiglu_backward};
pub use arenas::limit_arenas;
pub use attention::{Causal, Heads};
pub use exp::{ln, pow};
pub use gemm::{Into, Mat, Packed, Packing, gemm, gemm_packed};
pub use loss::{LabelLoss, cross_entropy, cross_entropy_each};
pub use map::{Apart, map_file};
pub use norm::{rms_norm, rms_norm_backward, rms_norm_gain_backward};
pub use pages::{NewRows, PAGE, PageLayout, Paged, attend_pages, write_pages};
pub use products::{Product, multiply_all};
pub use reduce::{add_assign, argmax, axpy, dot, dot_f64};
pub use rope::{Pairs, Rope};
pub use threads::awake;
pub use weight::{
    Arithmetic, Bits, EightBit, Elements, Nf4, Precision, Quantised, Storage, Weight,
};
