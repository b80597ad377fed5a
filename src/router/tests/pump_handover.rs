//! One session pumped by two processes in turn: what a binary upgrade will do.
//!
//! Its descriptors and its state go back and forth over a unix socket, every few milliseconds, while both of its
//! peers send and read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod pump_bench;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pump_bench::{Flow, SOON, connection};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};
use trunkline_router::pump::Pump;
use trunkline_router::pump::parts::Parts;
use trunkline_router::stream::Stream;
use trunkline_router::traffic::{Bytes, Traffic};

/// Where the other process finds its half.
const PLACE: &str = "TRUNKLINE_TEST_HANDOVER";
/// How many bytes go each way.
const BYTES: u64 = 20_000_000;
/// How long either process pumps at a time.
const A_WHILE: Duration = Duration::from_millis(10);
/// Both sockets, and a pipe each way.
const MOST: usize = 6;

/// This very test is the other process too: it starts itself, and is told where its other half is.
#[test]
fn a_session_goes_on_in_another_process_and_back() {
    if let Some(place) = std::env::var_os(PLACE) {
        the_other_process(Path::new(&place));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("handover");
    let listener = UnixListener::bind(&place).unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_session_goes_on_in_another_process_and_back"])
        .env(PLACE, &place)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (between, _) = listener.accept().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, front) = connection(pump_bench::Carrier::Tcp).await;
        let (back, server) = connection(pump_bench::Carrier::Tcp).await;
        let pump = Pump::new(front, back, Arc::default());
        let parts = pump.take_apart().unwrap();
        let here = std::thread::spawn(move || relay(&between, Some(parts)));
        let peers = async { tokio::join!(peer(client, [1, 2]), peer(server, [2, 1])) };
        timeout(SOON, peers).await.unwrap();
        let here = here.join().unwrap();
        assert!(
            here.handed_over > 3,
            "{} times is not often",
            here.handed_over
        );
        if let Some(bytes) = here.over {
            assert_eq!((bytes.from_client, bytes.from_server), (BYTES, BYTES));
        }
    });
    assert!(other.wait().unwrap().success());
}

fn the_other_process(place: &Path) {
    let between = UnixStream::connect(place).unwrap();
    let here = relay(&between, None);
    assert!(here.handed_over > 2);
    if let Some(bytes) = here.over {
        assert_eq!((bytes.from_client, bytes.from_server), (BYTES, BYTES));
    }
}

/// Sends one flow and reads the other, not as fast as it could, to the end of both.
async fn peer(stream: Stream, [says, hears]: [u64; 2]) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let saying = async {
        let (mut flow, mut piece) = (Flow::new(says), vec![0; 200_000]);
        while flow.at() < BYTES {
            flow.fill(&mut piece);
            writer.write_all(&piece).await.unwrap();
            flow.went(piece.len());
        }
        writer.shutdown().await.unwrap();
    };
    let hearing = async {
        let (mut flow, mut piece) = (Flow::new(hears), vec![0; 200_000]);
        loop {
            let read = reader.read(&mut piece).await.unwrap();
            if read == 0 {
                return assert_eq!(flow.at(), BYTES);
            }
            flow.take(&piece[..read]);
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(saying, hearing);
}

/// What one process did.
#[derive(Debug, Default)]
struct Here {
    handed_over: u32,
    /// What was counted, if the session was over here.
    over: Option<Bytes>,
}

/// Pumps in turn with whoever is at the other end.
fn relay(between: &UnixStream, mut parts: Option<Parts>) -> Here {
    between.set_read_timeout(Some(SOON)).unwrap();
    let mut here = Here::default();
    loop {
        let Some(mine) = parts.or_else(|| receive(between)) else {
            return here;
        };
        match pump(mine) {
            Ok(bytes) => {
                here.over = Some(bytes);
                return here;
            }
            Err(apart) => hand_over(between, &apart),
        }
        here.handed_over += 1;
        parts = None;
    }
}

/// Pumps for a while; `Err` with the parts if it is not over then.
fn pump(parts: Parts) -> Result<Bytes, Parts> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let traffic = Arc::new(Traffic::default());
        let mut pump = Pump::put_together(parts, Arc::clone(&traffic)).unwrap();
        match timeout(A_WHILE, pump.run(None, || {})).await {
            Ok(_) => Ok(traffic.bytes()),
            Err(_) => Err(pump.take_apart().unwrap()),
        }
    })
}

fn hand_over(to: &UnixStream, parts: &Parts) {
    let state = serde_json::to_vec(&parts.state).unwrap();
    let descriptors: Vec<_> = parts.descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    assert!(beside.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let length = state.len().to_le_bytes();
    let sent = sendmsg(
        to,
        &[IoSlice::new(&length)],
        &mut beside,
        SendFlags::empty(),
    );
    assert_eq!(sent, Ok(length.len()));
    (&*to).write_all(&state).unwrap();
}

fn receive(from: &UnixStream) -> Option<Parts> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; size_of::<usize>()];
    let mut into = [IoSliceMut::new(&mut length)];
    let got = recvmsg(from, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC).unwrap();
    if got.bytes == 0 {
        return None;
    }
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    let mut state = vec![0; usize::from_le_bytes(length)];
    (&*from).read_exact(&mut state).unwrap();
    Some(Parts {
        state: serde_json::from_slice(&state).unwrap(),
        descriptors,
    })
}
