//! Named flat arrays: what every model is stored as.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::Serialize;

use crate::ModelError;

/// The storable form of a model: its settings and its arrays.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelParts {
    /// Registered kind, such as `markov`.
    pub kind: String,
    /// The settings it was fitted with, as JSON.
    pub config: serde_json::Value,
    /// Its arrays.
    pub tensors: Tensors,
}

impl ModelParts {
    /// Puts settings and arrays together.
    ///
    /// # Panics
    /// If the settings cannot be JSON, which no plain struct can cause.
    #[must_use]
    pub fn new<C: Serialize>(kind: &str, config: &C, tensors: Tensors) -> Self {
        let config = serde_json::to_value(config).expect("settings are plain structs with string keys");
        Self { kind: kind.to_owned(), config, tensors }
    }
}

/// Arrays by name. Names are sorted, so equal tensors are equal bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensors {
    /// The file they were read from, for messages; empty for a model just fitted.
    path: PathBuf,
    map: BTreeMap<String, Tensor>,
}

/// One array: little-endian bytes with a type and a shape.
#[derive(Debug, Clone, PartialEq)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A number type that a tensor may hold.
pub trait Element: Copy + sealed::Sealed {
    /// Its name in the safetensors format.
    const DTYPE: Dtype;
    /// Bytes per number.
    const SIZE: usize;
    /// Appends the little-endian bytes.
    fn write(self, out: &mut Vec<u8>);
    /// Reads [`SIZE`](Element::SIZE) little-endian bytes.
    fn read(bytes: &[u8]) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($ty:ty => $dtype:ident),+) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: Dtype = Dtype::$dtype;
            const SIZE: usize = size_of::<$ty>();
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut buffer = [0; size_of::<$ty>()];
                buffer.copy_from_slice(bytes);
                <$ty>::from_le_bytes(buffer)
            }
        }
    )+};
}

element!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

impl Tensors {
    /// No tensors yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a one-dimensional array.
    #[must_use]
    pub fn with<T: Element>(self, name: &str, values: &[T]) -> Self {
        self.with_shape(name, &[values.len()], values)
    }

    /// Adds an array of the given shape, row-major.
    ///
    /// # Panics
    /// If `values` does not fill the shape exactly.
    #[must_use]
    pub fn with_shape<T: Element>(mut self, name: &str, shape: &[usize], values: &[T]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "tensor `{name}` does not fill {shape:?}");
        let mut bytes = Vec::with_capacity(values.len() * T::SIZE);
        for &value in values {
            value.write(&mut bytes);
        }
        self.map.insert(name.to_owned(), Tensor { dtype: T::DTYPE, shape: shape.to_vec(), bytes });
        self
    }

    /// Adds strings as one array of bytes `NAME.text` and one of ends `NAME.ends`.
    #[must_use]
    pub fn with_strings(self, name: &str, values: &[String]) -> Self {
        let text: Vec<u8> = values.iter().flat_map(|v| v.bytes()).collect();
        let ends: Vec<u64> = values
            .iter()
            .scan(0, |end, v| {
                *end += v.len() as u64;
                Some(*end)
            })
            .collect();
        self.with(&format!("{name}.text"), &text).with(&format!("{name}.ends"), &ends)
    }

    /// Names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// Number of values of an array.
    #[must_use]
    pub fn len_of(&self, name: &str) -> Option<usize> {
        self.map.get(name).map(|t| t.shape.iter().product())
    }

    /// Bytes of all arrays together.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.map.values().map(|t| t.bytes.len()).sum()
    }

    /// Takes out an array of any length.
    ///
    /// # Errors
    /// If it is absent, of another type or not one-dimensional.
    pub fn take<T: Element>(&mut self, name: &str) -> Result<Vec<T>, ModelError> {
        self.take_shaped::<T, 1>(name).map(|(values, _)| values)
    }

    /// Takes out an array of a known length.
    ///
    /// # Errors
    /// As [`take`](Self::take), and if the length differs.
    pub fn take_len<T: Element>(&mut self, name: &str, len: usize) -> Result<Vec<T>, ModelError> {
        let values = self.take(name)?;
        if values.len() == len {
            Ok(values)
        } else {
            Err(self.wrong(format!("{len} values in `{name}`"), values.len().to_string()))
        }
    }

    /// Takes out a row-major array of `N` dimensions together with its shape.
    ///
    /// # Errors
    /// If it is absent, of another type or of another number of dimensions.
    pub fn take_shaped<T: Element, const N: usize>(
        &mut self,
        name: &str,
    ) -> Result<(Vec<T>, [usize; N]), ModelError> {
        let Some(tensor) = self.map.remove(name) else {
            let have: Vec<_> = self.names().collect();
            return Err(self.wrong(format!("a tensor `{name}`"), format!("none (there is {have:?})")));
        };
        if tensor.dtype != T::DTYPE {
            return Err(
                self.wrong(format!("`{name}` of type {:?}", T::DTYPE), format!("type {:?}", tensor.dtype))
            );
        }
        let Ok(shape) = <[usize; N]>::try_from(tensor.shape.as_slice()) else {
            return Err(
                self.wrong(format!("`{name}` with {N} dimensions"), format!("shape {:?}", tensor.shape))
            );
        };
        Ok((tensor.bytes.chunks_exact(T::SIZE).map(T::read).collect(), shape))
    }

    /// Takes out strings stored by [`with_strings`](Self::with_strings).
    ///
    /// # Errors
    /// If they are absent, the ends do not ascend, or the text is not UTF-8.
    pub fn take_strings(&mut self, name: &str) -> Result<Vec<String>, ModelError> {
        let text: Vec<u8> = self.take(&format!("{name}.text"))?;
        let ends: Vec<u64> = self.take(&format!("{name}.ends"))?;
        let mut from = 0;
        let mut out = Vec::with_capacity(ends.len());
        for &end in &ends {
            let part = usize::try_from(end)
                .ok()
                .and_then(|end| text.get(from..end))
                .and_then(|part| std::str::from_utf8(part).ok());
            let Some(part) = part else {
                return Err(self.wrong(
                    format!("`{name}.ends` to ascend within {} bytes of UTF-8", text.len()),
                    format!("{end} after {from}"),
                ));
            };
            out.push(part.to_owned());
            from = end as usize;
        }
        Ok(out)
    }

    /// Takes out an array of a known length whose values are all finite.
    ///
    /// # Errors
    /// As [`take_len`](Self::take_len), and on the first NaN or infinity.
    pub fn take_finite(&mut self, name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let values: Vec<f32> = self.take_len(name, len)?;
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(at) => {
                Err(self.wrong(format!("finite values in `{name}`"), format!("{} at {at}", values[at])))
            }
        }
    }

    /// Takes out a row-major array of a known shape whose values are all finite.
    ///
    /// # Errors
    /// If it is absent, of another type or shape, or holds a NaN or an infinity.
    pub fn take_finite_shape(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        match self.map.get_mut(name) {
            Some(tensor) if tensor.shape != shape => {
                let got = format!("shape {:?}", tensor.shape);
                Err(self.wrong(format!("`{name}` of shape {shape:?}"), got))
            }
            Some(tensor) => {
                let len = shape.iter().product();
                tensor.shape = vec![len];
                self.take_finite(name, len)
            }
            // Says which arrays there are.
            None => self.take(name),
        }
    }

    /// Ends the taking out: nothing may be left.
    ///
    /// # Errors
    /// Names the arrays that no part of the model asked for.
    pub fn finish(self) -> Result<(), ModelError> {
        if self.map.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = self.names().collect();
        Err(self.wrong("no other tensors".to_owned(), format!("{left:?}")))
    }

    /// Name, number type and shape of each array, in the order of the names.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, String, &[usize])> {
        self.map.iter().map(|(name, t)| (name.as_str(), format!("{:?}", t.dtype), t.shape.as_slice()))
    }

    /// Takes out an array of a known length whose values are all below `bound`.
    ///
    /// # Errors
    /// As [`take_len`](Self::take_len), and on the first value out of bounds.
    pub fn take_below(&mut self, name: &str, len: usize, bound: u32) -> Result<Vec<u32>, ModelError> {
        let values: Vec<u32> = self.take_len(name, len)?;
        match values.iter().position(|&v| v >= bound) {
            None => Ok(values),
            Some(at) => {
                Err(self
                    .wrong(format!("values below {bound} in `{name}`"), format!("{} at {at}", values[at])))
            }
        }
    }

    /// The error of a file that does not hold what it should.
    #[must_use]
    pub fn wrong(&self, expected: String, got: String) -> ModelError {
        ModelError::Artifact { path: self.path.clone(), expected, got }
    }

    /// The bytes of a safetensors file.
    ///
    /// # Errors
    /// If the arrays are too large for the format.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, ModelError> {
        safetensors::serialize(&self.map, None)
            .map_err(|e| self.wrong("tensors that can be written".to_owned(), e.to_string()))
    }

    /// Reads the bytes of a safetensors file; nothing in it is trusted. `path` is for messages.
    ///
    /// # Errors
    /// If they are none.
    pub fn from_safetensors(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let mut out = Self { path: path.to_owned(), map: BTreeMap::new() };
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| out.wrong("a safetensors file".to_owned(), e.to_string()))?;
        for (name, view) in file.iter() {
            let tensor =
                Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            out.map.insert(name.to_owned(), tensor);
        }
        Ok(out)
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_their_file_bytes() {
        let tensors = Tensors::new()
            .with("a", &[1.5_f32, -2.0])
            .with_shape("b", &[2, 2], &[1_u32, 2, 3, 4])
            .with_strings("c", &["ä".to_owned(), String::new(), "z".to_owned()]);
        let bytes = tensors.to_safetensors().unwrap();
        let mut read = Tensors::from_safetensors(Path::new("x"), &bytes).unwrap();
        assert_eq!(read.take_finite("a", 2).unwrap(), [1.5, -2.0]);
        assert_eq!(read.take_shaped::<u32, 2>("b").unwrap(), (vec![1, 2, 3, 4], [2, 2]));
        assert_eq!(read.take_strings("c").unwrap(), ["ä", "", "z"]);
    }

    #[test]
    fn a_wrong_type_length_or_value_is_named() {
        let tensors = || Tensors::new().with("a", &[1.0_f32, f32::NAN]).with("r", &[7_u32]);
        for (message, error) in [
            ("`a` of type U32", tensors().take::<u32>("a").map(drop)),
            ("3 values in `a`", tensors().take_len::<f32>("a", 3).map(drop)),
            ("finite values in `a`, got NaN at 1", tensors().take_finite("a", 2).map(drop)),
            ("values below 7 in `r`, got 7 at 0", tensors().take_below("r", 1, 7).map(drop)),
            ("a tensor `z`", tensors().take::<f32>("z").map(drop)),
        ] {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(message), "{text}");
        }
    }
}
