//! HTTP/2 frames written by hand (RFC 9113, RFC 7541): what a hostile client would send.

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM_AND_HEADERS: u8 = 0x5;
const END_HEADERS: u8 = 0x4;
const ACK: u8 = 0x1;

/// `GET http /` with authority `a`, in HPACK's static table and one literal.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

/// How many streams a flood opens.
const FLOOD_STREAMS: u32 = 20_000;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The next frame, or `None` when the connection has ended.
async fn read_frame(reader: &mut OwnedReadHalf) -> Option<Frame> {
    timeout(DEADLINE, async {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        reader.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    })
    .await
    .expect("a frame in time")
}

/// Connects, greets and acknowledges nothing but the greeting.
async fn greet(server: &Running) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut stream = server.connect().await;
    stream.set_nodelay(true).unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream.into_split()
}

/// Writes `bytes` while frames are read until GOAWAY; returns it with the resets before it.
async fn flood(server: &Running, bytes: Vec<u8>) -> (Vec<u8>, u32) {
    let (mut reader, mut writer) = greet(server).await;
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let mut resets = 0;
    while let Some(frame) = read_frame(&mut reader).await {
        match frame.kind {
            RST_STREAM => resets += 1,
            GOAWAY => {
                drop(reader);
                let _ = timeout(DEADLINE, writing).await.expect("the flood ends");
                return (frame.payload, resets);
            }
            _ => {}
        }
    }
    panic!("the connection ended after {resets} resets without a GOAWAY");
}

/// The error code of a GOAWAY frame.
fn goaway_code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[4..8].try_into().unwrap())
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn settings_announce_the_limits() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let (mut reader, _writer) = greet(&server).await;
    let settings = read_frame(&mut reader).await.unwrap();
    assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
    let value = |id: u16| {
        settings
            .payload
            .chunks(6)
            .find(|entry| entry[..2] == id.to_be_bytes())
            .map(|entry| u32::from_be_bytes(entry[2..6].try_into().unwrap()))
    };
    assert_eq!(value(0x3), Some(100), "SETTINGS_MAX_CONCURRENT_STREAMS");
    assert_eq!(value(0x6), Some(16_384), "SETTINGS_MAX_HEADER_LIST_SIZE");
    assert_eq!(value(0x4), Some(262_144), "SETTINGS_INITIAL_WINDOW_SIZE");
}

#[tokio::test]
async fn a_flood_of_malformed_streams_gets_goaway() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let mut bytes = Vec::new();
    for stream in (1..).step_by(2).take(usize::try_from(FLOOD_STREAMS).unwrap()) {
        // Two updates overflow the stream's window: an error of the stream, which the server must
        // answer with a reset (the MadeYouReset pattern).
        bytes.extend(frame(HEADERS, END_HEADERS, stream, GET_ROOT));
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
    }
    let (payload, resets) = flood(&server, bytes).await;
    assert_eq!(goaway_code(&payload), ENHANCE_YOUR_CALM);
    assert!((1..1_100).contains(&resets), "{resets} resets before GOAWAY");
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
}

#[tokio::test]
async fn a_flood_of_resets_gets_goaway() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let mut bytes = Vec::new();
    for stream in (1..).step_by(2).take(usize::try_from(FLOOD_STREAMS).unwrap()) {
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, GET_ROOT));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let (payload, _) = flood(&server, bytes).await;
    assert_eq!(goaway_code(&payload), ENHANCE_YOUR_CALM);
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
}

/// A header block that names one entry of 4,000 bytes `times` times, by one byte each after the
/// first: a small frame that decodes to many kilobytes.
fn header_bomb(times: usize) -> Vec<u8> {
    let mut block = GET_ROOT.to_vec();
    // Name `x`, then a value of 127 + 33 + 30 * 128 = 4,000 bytes, both put into the dynamic table.
    block.extend([0x40, 1, b'x', 0x7f, 0x80 | 33, 30]);
    block.extend(vec![b'a'; 4_000]);
    block.extend(vec![0xbe; times - 1]);
    block
}

#[tokio::test]
async fn an_oversized_header_list_harms_only_its_stream() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let (mut reader, mut writer) = greet(&server).await;
    let bomb = frame(HEADERS, END_STREAM_AND_HEADERS, 1, &header_bomb(10));
    writer.write_all(&bomb).await.unwrap();
    writer.write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, 3, GET_ROOT)).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let frame = read_frame(&mut reader).await.expect("the connection lives");
        assert_ne!(frame.kind, GOAWAY);
        if frame.kind == HEADERS {
            // 0x88 is HPACK for `:status 200`.
            answers.push((frame.stream, frame.payload[0] == 0x88));
        }
    }
    answers.sort_unstable();
    assert_eq!(answers, [(1, false), (3, true)]);
}

#[tokio::test]
async fn a_header_bomb_gets_goaway() {
    let server = Running::start(hello(), ListenerLimits::default()).await;
    let bomb = frame(HEADERS, END_STREAM_AND_HEADERS, 1, &header_bomb(1_000));
    let (payload, _) = flood(&server, bomb).await;
    assert_eq!(goaway_code(&payload), ENHANCE_YOUR_CALM);
    assert!(read_answer(&mut server.send(HELLO).await).await.ends_with("hello"));
}

#[tokio::test]
async fn who_does_not_answer_pings_is_dropped() {
    let limits = ListenerLimits {
        keep_alive_interval_seconds: 1,
        keep_alive_timeout_seconds: 1,
        ..Default::default()
    };
    let server = Running::start(hello(), limits).await;
    let mut preface_only = server.send(PREFACE).await;
    let (mut reader, _writer) = greet(&server).await;
    read_until_closed(&mut preface_only).await;
    while read_frame(&mut reader).await.is_some() {}
}

#[tokio::test]
async fn an_old_connection_gets_goaway_and_its_request_an_answer() {
    use super::super::ConnectionDrain;
    let wait = async |axum::Extension(drain): axum::Extension<ConnectionDrain>| {
        drain.0.cancelled().await;
        "ended by itself"
    };
    let app = Router::new().route("/", get(wait));
    let limits = ListenerLimits {
        preface_timeout_seconds: 1,
        connection_age_seconds_max: 1,
        ..Default::default()
    };
    let server = Running::start(app, limits).await;
    let (mut reader, mut writer) = greet(&server).await;
    writer.write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, 1, GET_ROOT)).await.unwrap();
    let (mut goaway, mut answered) = (false, false);
    while let Some(Frame { kind, flags, stream, payload }) = read_frame(&mut reader).await {
        match kind {
            GOAWAY => goaway = true,
            HEADERS => answered = stream == 1 && payload[0] == 0x88,
            // A ping of the graceful end, which waits for its answer.
            6 if flags & ACK == 0 => {
                writer.write_all(&frame(6, ACK, 0, &payload)).await.unwrap();
            }
            _ => {}
        }
    }
    assert!(goaway && answered, "goaway {goaway}, answered {answered}");
}
