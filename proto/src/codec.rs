//! prost's codec with buffers of the size of this contract's messages. tonic's own begin at 8 KiB each,
//! two a call, which an allocator can not keep at hand. Servers refuse a request that is no message with
//! the contract's reason. Not here: any encoding.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::ErrorReason;
use crate::{ERROR_DOMAIN, reason_of};

/// Bytes that a buffer begins with, and by which it grows: most messages fit.
const BUFFER_BYTES: usize = 960;
/// Bytes of a stream that are gathered before they are sent.
const YIELD_BYTES: usize = 32 * 1024;

/// The codec of every generated client.
#[derive(Debug, Clone, Copy, Default)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

/// The codec of every generated server: the same, but an undecodable request is its caller's fault. gRPC's
/// own INTERNAL would say that the server failed; for a client, whose answer it is, that is true.
#[derive(Debug, Clone, Copy, Default)]
pub struct Served<T, U>(PhantomData<(T, U)>);

/// Reads requests.
#[derive(Debug, Clone, Copy)]
pub struct RequestDecoder<U>(PhantomData<U>);

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}

impl<T, U> Codec for Served<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(PhantomData)
    }
}

impl<U: Message + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // prost names the field, and nothing of its value.
        U::decode(bytes).map(Some).map_err(|error| {
            let reason = reason_of(ErrorReason::MalformedMessage);
            let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
            Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}
