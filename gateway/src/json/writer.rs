//! The public writer of one message type: protobuf bytes in, JSON text out, in either view.
//! It needs no gateway and no upstream; bodies that are sent elsewhere are made with it.

use std::sync::Arc;

use prost_reflect::DescriptorPool;

use super::write::{WriteError, Writer};
use crate::BuildError;
use crate::options::Options;
use crate::shape::{Kind, ShapeCompiler, Shapes};

/// JSON text is mostly longer than its protobuf bytes by about this factor.
const GROWTH: usize = 3;

/// Which fields of a message are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All but those marked `VIEW_FULL`.
    Basic,
    /// All.
    Full,
}

/// A compiled shape of one message type in one view.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub shapes: Arc<Shapes>,
    pub kind: Kind,
    /// Only this field of the message is written, if set.
    pub only: Option<usize>,
    /// What stands first in the object: a key, a value, no comma.
    pub head: Box<[u8]>,
}

impl Plan {
    pub(crate) fn write(&self, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, WriteError> {
        let capacity = bytes.len().saturating_mul(GROWTH).saturating_add(64).min(bytes_max);
        let mut writer = Writer::new(&self.shapes, capacity, bytes_max);
        match (&self.kind, self.only) {
            (Kind::Message(index), Some(field)) => {
                writer.only(*index, field, bytes, &self.head)?;
            }
            (kind, _) => writer.root(kind, bytes, &self.head)?,
        }
        let out = writer.finish();
        if out.len() > bytes_max {
            return Err(WriteError::TooLong(bytes_max));
        }
        Ok(out)
    }
}

/// Writes messages of one type as JSON.
#[derive(Debug, Clone)]
pub struct MessageWriter {
    basic: Plan,
    full: Plan,
    bytes_max: usize,
}

impl MessageWriter {
    /// A writer for the message `full_name` of an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// [`BuildError`] if the bytes are no descriptor set, have no such message, or one of its
    /// options does not fit.
    pub fn new(
        descriptor_set: &[u8],
        full_name: &str,
        bytes_max: usize,
    ) -> Result<Self, BuildError> {
        let pool = DescriptorPool::decode(descriptor_set)?;
        Self::of(&pool, full_name, bytes_max)
    }

    pub(crate) fn of(
        pool: &DescriptorPool,
        full_name: &str,
        bytes_max: usize,
    ) -> Result<Self, BuildError> {
        let options = Options::of(pool);
        let desc = pool
            .get_message_by_name(full_name)
            .ok_or_else(|| BuildError::UnknownMessage(full_name.to_owned()))?;
        let plan = |view| -> Result<Plan, BuildError> {
            let mut compiler = ShapeCompiler::new(&options, view);
            let kind = compiler.root(&desc)?;
            let shapes = Arc::new(compiler.finish());
            Ok(Plan { shapes, kind, only: None, head: Box::default() })
        };
        Ok(Self { basic: plan(View::Basic)?, full: plan(View::Full)?, bytes_max })
    }

    /// The JSON text of the message encoded in `bytes`.
    ///
    /// # Errors
    /// [`WriteError`] if the bytes are no such message, or a field holds what its JSON form does
    /// not allow; nothing invalid is ever written.
    pub fn write(&self, bytes: &[u8], view: View) -> Result<Vec<u8>, WriteError> {
        match view {
            View::Basic => self.basic.write(bytes, self.bytes_max),
            View::Full => self.full.write(bytes, self.bytes_max),
        }
    }
}
