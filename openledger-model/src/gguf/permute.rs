//! The order of rows in the query and key projections of a Llama.
//!
//! A Llama's rotary embedding turns element `j` of a head with element `j + d/2`; ggml's turns
//! neighbours. So llama.cpp's converter (`LlamaModel.permute`) stores the rows of a head as 0, d/2, 1,
//! d/2 + 1, …

/// Returns the rows in the order of a Hugging Face checkpoint.
pub(super) fn to_halves<T: Copy>(rows: &[T], heads: usize, head_dim: usize) -> Vec<T> {
    permute(rows, heads, |row| 2 * (row % (head_dim / 2)) + row / (head_dim / 2), head_dim)
}

/// Returns the rows in the order of a GGUF file.
pub(super) fn to_neighbours<T: Copy>(rows: &[T], heads: usize, head_dim: usize) -> Vec<T> {
    permute(rows, heads, |row| row / 2 + row % 2 * (head_dim / 2), head_dim)
}

/// Puts row `from(row)` of each head at `row`, whatever a row is made of.
fn permute<T: Copy>(
    rows: &[T],
    heads: usize,
    from: impl Fn(usize) -> usize,
    head_dim: usize,
) -> Vec<T> {
    let width = rows.len() / (heads * head_dim);
    let mut out = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_dim * width) {
        for row in 0..head_dim {
            out.extend_from_slice(&head[from(row) * width..][..width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_neighbours_there_and_halves_here() {
        let halves: Vec<f32> = (0..16).map(|x| x as f32).collect();
        let neighbours = to_neighbours(&halves, 2, 4);
        assert_eq!(neighbours[..8], [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
        assert_eq!(to_halves(&neighbours, 2, 4), halves);
        assert_eq!(to_halves(&to_neighbours(&halves, 1, 16), 1, 16), halves);
    }
}
