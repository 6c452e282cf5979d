//! Several products at once: threads meet once for all of them, and rows are rounded once.

use crate::{
    Arithmetic, Into, Mat, Packed, Weight,
    gemm::{Columns, FEW, gemm_packed},
    weight::Shared,
};

/// One of the products that [`multiply_all`] computes.
#[derive(Debug)]
pub struct Product<'a> {
    out: Into<'a>,
    x: Mat<'a>,
    by: By<'a>,
}

#[derive(Debug)]
enum By<'a> {
    Weight(&'a Weight, Arithmetic),
    Packed(&'a Packed),
}

impl<'a> Product<'a> {
    /// What [`Weight::multiply`] computes.
    pub const fn by_weight(
        out: Into<'a>,
        x: Mat<'a>,
        weight: &'a Weight,
        arithmetic: Arithmetic,
    ) -> Self {
        Self { out, x, by: By::Weight(weight, arithmetic) }
    }

    /// What [`gemm_packed`] computes.
    pub const fn by_packed(out: Into<'a>, x: Mat<'a>, packed: &'a Packed) -> Self {
        Self { out, x, by: By::Packed(packed) }
    }
}

/// Computes products, each with the bits it has alone. Those with few rows are computed side by side:
/// what a server's step multiplies by many small matrices keeps all threads busy.
///
/// # Panics
/// If the sizes of one do not match.
///
/// # Examples
/// ```
/// use openledger_kernels::{Into, Mat, Packed, Product, multiply_all};
///
/// let (x, mut y, mut z) = ([1.0, 2.0], [0.0; 1], [10.0; 1]);
/// let rows = Mat::new(&x, 1, 2);
/// let [sum, difference] = [[1.0, 1.0], [1.0, -1.0]].map(|b| Packed::new(Mat::new(&b, 2, 1)));
/// multiply_all([
///     Product::by_packed(Into::Set(&mut y), rows, &sum),
///     Product::by_packed(Into::Add(&mut z), rows, &difference),
/// ]);
/// assert_eq!((y, z), ([3.0], [9.0]));
/// ```
pub fn multiply_all<'a>(products: impl IntoIterator<Item = Product<'a>>) {
    let mut shared = Shared::default();
    let mut columns: Vec<Columns<'a>> = Vec::new();
    for Product { out, x, by } in products {
        match by {
            By::Weight(weight, arithmetic) => {
                match weight.columns(out, x, arithmetic, &mut shared) {
                    Ok(product) => columns.push(product),
                    Err(out) => weight.multiply(out, x, arithmetic),
                }
            }
            By::Packed(packed) if x.rows() <= FEW => {
                columns.push(packed.columns(out, x, &mut shared));
            }
            By::Packed(packed) => gemm_packed(out, x, packed),
        }
    }
    Columns::run_all(&columns);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, Storage, gemm::tests::numbers};

    /// Few rows and many, and matrices of which some are worth dividing.
    #[test]
    fn side_by_side_products_have_the_bits_they_have_alone() {
        for (rows, [out, width], threads) in
            [(1, [3, 64], 2), (5, [1040, 512], 2), (16, [700, 512], 3), (40, [300, 64], 2)]
        {
            let x = numbers(rows * width, 1);
            let x = Mat::new(&x, rows, width);
            let elements = numbers(out * width, 2);
            let precisions =
                [Precision::F32, Precision::Bf16, Precision::Nf4, Precision::Q8_0, Precision::Q4_0];
            let weights = precisions.map(|precision| {
                Weight::new(Storage::new(elements.clone(), [out, width], precision), [out, width])
            });
            let arithmetic = [Arithmetic::F32, Arithmetic::Bf16];
            let each: Vec<(&Weight, Arithmetic)> =
                weights.iter().flat_map(|w| arithmetic.map(|arithmetic| (w, arithmetic))).collect();
            let small = Packed::new(Mat::new(&elements[..width * 3], width, 3));
            let half = Packed::new_bf16(Mat::new(&elements[..width * 3], width, 3));
            let rounded = Packed::new_rounded(Mat::new(&elements[..width * 3], width, 3));

            let mut alone = vec![numbers(rows * out, 3); each.len()];
            for ((weight, arithmetic), y) in each.iter().zip(&mut alone) {
                weight.multiply(Into::Add(y), x, *arithmetic);
            }
            let mut small_alone = [(); 3].map(|()| vec![0.0; rows * 3]);
            for (y, packed) in small_alone.iter_mut().zip([&small, &half, &rounded]) {
                gemm_packed(Into::Set(y), x, packed);
            }

            let mut together = vec![numbers(rows * out, 3); each.len()];
            let mut small_together = [(); 3].map(|()| vec![7.0; rows * 3]);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let by_weight = each.iter().zip(&mut together).map(|((weight, arithmetic), y)| {
                    Product::by_weight(Into::Add(y), x, weight, *arithmetic)
                });
                let by_packed = small_together
                    .iter_mut()
                    .zip([&small, &half, &rounded])
                    .map(|(y, packed)| Product::by_packed(Into::Set(y), x, packed));
                multiply_all(by_weight.chain(by_packed));
            });
            assert!(together == alone && small_together == small_alone, "{rows} x {width} x {out}");
        }
    }
}
