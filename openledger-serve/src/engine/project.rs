//! Linear layers of a step: the base's matrices for all rows but those of merged copies, an adapter's for
//! those of its group.

use std::ops::Range;

use openledger_kernels::{Into, Mat, Packed, Product, add_assign, multiply_all};
use openledger_model::{Buffer, Buffers, Linear, Network};

use crate::{Lease, lease::Site};

/// Multiplies rows `x`, of which those of `groups` have adapters, by layers that read the same rows.
pub(super) fn project<const N: usize>(
    network: &Network,
    buffers: &Buffers,
    x: &[f32],
    linears: [&Linear; N],
    groups: &[(&Lease, Range<usize>)],
) -> [Buffer; N] {
    let weights = network.weights();
    let [_, inputs] = network.sizes(linears[0].weight);
    let count = x.len() / inputs;
    let rows =
        |of: &Range<usize>| Mat::new(&x[of.start * inputs..of.end * inputs], of.len(), inputs);
    let mut results = linears.map(|linear| {
        let [outputs, _] = network.sizes(linear.weight);
        buffers.room(count * outputs)
    });
    // Rows are lowered beside the base's products, and raised onto the results of those.
    let base = results.iter_mut().zip(linears).flat_map(|(y, linear)| {
        let (weight, arithmetic) = (weights.matrix(linear.weight), weights.arithmetic());
        divide(y, count, linear, groups).map(move |(y, of, merged)| match merged {
            Some(merged) => Product::by_packed(Into::Set(y), rows(&of), merged),
            None => Product::by_weight(Into::Set(y), rows(&of), weight, arithmetic),
        })
    });
    let mut lowered: Vec<Lowered<'_, N>> =
        groups.iter().filter_map(|(lease, of)| Lowered::new(lease, linears, of, buffers)).collect();
    let lower = lowered.iter_mut().map(|group| {
        Product::by_packed(Into::Set(&mut group.lowered), rows(&group.of), group.down)
    });
    multiply_all(base.chain(lower));
    lowered.iter_mut().for_each(Lowered::scale);
    let raise = results.iter_mut().enumerate().flat_map(|(n, y)| raise(&lowered, n, y, count));
    multiply_all(raise);

    for (n, (y, linear)) in results.iter_mut().zip(linears).enumerate() {
        let outputs = y.len() / count;
        for group in &lowered {
            let Some(factors) = group.sites[n].and_then(|site| site.factors.as_ref()) else {
                continue;
            };
            for row in y[group.of.start * outputs..group.of.end * outputs].chunks_exact_mut(outputs)
            {
                row.iter_mut().zip(factors).for_each(|(y, factor)| *y *= factor);
            }
        }
        if let Some(bias) = linear.bias {
            let bias = weights.vector(bias);
            y.chunks_exact_mut(outputs).for_each(|row| add_assign(row, bias));
        }
    }
    results
}

/// Divides the results of a layer, `y` of `count` rows, by what the rows are multiplied by: the base's
/// matrix, or that of a merged copy.
fn divide<'a>(
    y: &'a mut [f32],
    count: usize,
    linear: &Linear,
    groups: &[(&'a Lease, Range<usize>)],
) -> impl Iterator<Item = (&'a mut [f32], Range<usize>, Option<&'a Packed>)> + use<'a> {
    let outputs = y.len() / count;
    let merged =
        groups.iter().filter_map(|(lease, of)| Some((of, lease.merged_at(linear.weight)?)));
    let (mut parts, mut first) = (Vec::new(), 0);
    for (of, matrix) in merged {
        parts.extend([(first..of.start, None), (of.clone(), Some(matrix))]);
        first = of.end;
    }
    parts.push((first..count, None));
    let mut rest = y;
    parts.into_iter().filter(|(of, _)| !of.is_empty()).map(move |(of, matrix)| {
        let (own, after) = std::mem::take(&mut rest).split_at_mut(of.len() * outputs);
        rest = after;
        (own, of, matrix)
    })
}

/// The rows of an adapter, lowered once for all layers that read them.
struct Lowered<'a, const N: usize> {
    /// Which rows.
    of: Range<usize>,
    sites: [Option<&'a Site>; N],
    down: &'a Packed,
    /// `[rows, ranks of all sites]`.
    lowered: Buffer,
}

impl<'a, const N: usize> Lowered<'a, N> {
    fn new(
        lease: &'a Lease,
        linears: [&Linear; N],
        of: &Range<usize>,
        buffers: &Buffers,
    ) -> Option<Self> {
        let found = linears.map(|linear| lease.at(linear.weight));
        let (_, down) = found.into_iter().flatten().next()?;
        let sites = found.map(|found| found.map(|(site, _)| site));
        Some(Self { of: of.clone(), sites, down, lowered: buffers.room(of.len() * down.cols()) })
    }

    fn scale(&mut self) {
        for row in self.lowered.chunks_exact_mut(self.down.cols()) {
            for site in self.sites.into_iter().flatten() {
                row[site.first..][..site.up.rows()].iter_mut().for_each(|u| *u *= site.scale);
            }
        }
    }
}

/// What adapters add to the results of the n-th layer, `y` of `count` rows.
fn raise<'a, const N: usize>(
    groups: &'a [Lowered<'_, N>],
    n: usize,
    y: &'a mut [f32],
    count: usize,
) -> Vec<Product<'a>> {
    let outputs = y.len() / count;
    let (mut rest, mut first) = (y, 0);
    let products = groups.iter().filter_map(|group| {
        let (own, after) = std::mem::take(&mut rest).split_at_mut((group.of.end - first) * outputs);
        let own = &mut own[(group.of.start - first) * outputs..];
        (rest, first) = (after, group.of.end);
        let Site { first, up, .. } = group.sites[n]?;
        let lowered = &group.lowered[*first..];
        let rows = Mat::strided(lowered, group.of.len(), up.rows(), group.down.cols());
        Some(Product::by_packed(Into::Add(own), rows, up))
    });
    products.collect()
}
