//! Keys and values of a sequence, layer by layer.

/// What attention has seen of one sequence.
#[derive(Debug)]
pub(super) struct Cache {
    layers: Vec<Layer>,
}

/// One layer's keys (turned by position) and values, `[rows, key_value * dim]` each.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Cache {
    pub(super) fn new(layers: usize) -> Self {
        Self { layers: vec![Layer::default(); layers] }
    }

    /// Appends a step's rows to a layer and returns all of its rows.
    pub(super) fn extend(&mut self, layer: usize, keys: &[f32], values: &[f32]) -> &Layer {
        let layer = &mut self.layers[layer];
        layer.keys.extend_from_slice(keys);
        layer.values.extend_from_slice(values);
        layer
    }
}
