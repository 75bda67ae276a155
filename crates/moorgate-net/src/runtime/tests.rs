use std::{
    cell::Cell,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::abortable};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, oneshot},
};

use super::{timer::Timers, *};

const MIB: usize = 1 << 20;

/// What `main` comes to on a worker.
fn on_worker<T: Send + 'static, F: Future<Output = T> + 'static>(main: impl FnOnce() -> F + Send + 'static) -> T {
    let (send, receive) = std::sync::mpsc::channel();
    let worker = thread::spawn(move || run(async move { send.send(main().await).unwrap() }).unwrap());
    // One that has panicked does not end.
    let result = receive.recv().unwrap();
    worker.join().unwrap();
    result
}

fn listener() -> TcpListener {
    let listener = crate::listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap().remove(0);
    TcpListener::from_std(listener).unwrap()
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap(), address).await
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let client = connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// More than any socket holds goes there and back at once, then one end, then the other.
async fn there_and_back() {
    let (mut client, server) = pair().await;
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    let mut peeked = [0; 4];
    spawn(async move {
        assert_eq!(server.peek(&mut peeked).await.unwrap(), 4);
        let (mut reader, mut writer) = tokio::io::split(server);
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let sent: Vec<u8> = (0..32 * MIB).map(|n| (n / 3) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(&mut client);
    let (mut got, sending) = (Vec::new(), async {
        writer.write_all(&sent[..4]).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        writer.write_all(&sent[4..]).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let ((), read) = tokio::join!(sending, reader.read_to_end(&mut got));
    assert_eq!(read.unwrap(), sent.len());
    assert!(got == sent);
}

#[test]
fn what_a_socket_does_not_take_at_once_goes_when_there_is_room() {
    on_worker(there_and_back);
}

#[test]
fn a_write_of_more_pieces_than_go_at_once_is_not_taken_for_a_full_socket() {
    const PIECES: usize = 5_000;
    let got = on_worker(async || {
        let (mut client, mut server) = pair().await;
        let mut got = vec![0; PIECES];
        // The second time its room is watched, and has been told of.
        for _ in 0..2 {
            let writing = async {
                let (mut left, pieces) = (PIECES, [io::IoSlice::new(b"p"); PIECES]);
                while left > 0 {
                    left -= client.write_vectored(&pieces[..left]).await.unwrap();
                }
            };
            let both = async { tokio::join!(writing, server.read_exact(&mut got)).1 };
            timeout(Duration::from_secs(5), both).await.expect("nobody waits for room").unwrap();
        }
        got
    });
    assert!(got.iter().all(|&byte| byte == b'p'));
}

#[tokio::test]
async fn the_same_works_on_tokio() {
    assert!(executor::here(|_| ()).is_none());
    there_and_back().await;
    assert_eq!(timeout(Duration::from_millis(5), std::future::pending::<()>()).await, Err(Elapsed));
}

#[test]
fn a_connection_that_is_refused_says_so_and_one_that_is_reset_is_an_error() {
    let (refused, reset) = on_worker(async || {
        let nobody = listener().local_addr().unwrap();
        let (client, mut server) = pair().await;
        client.set_zero_linger().unwrap();
        drop(client);
        (connect(nobody).await.unwrap_err().kind(), server.read(&mut [0; 8]).await.unwrap_err().kind())
    });
    assert_eq!((refused, reset), (ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset));
}

#[test]
fn an_end_behind_data_is_read_after_it() {
    let read = on_worker(async || {
        let (mut client, mut server) = pair().await;
        client.write_all(b"last words").await.unwrap();
        drop(client);
        // By now both are there, and one event told of them.
        sleep(Duration::from_millis(20)).await;
        let mut buf = [0; 64];
        (server.read(&mut buf).await.unwrap(), server.read(&mut buf).await.unwrap())
    });
    assert_eq!(read, (10, 0));
}

#[test]
fn a_task_that_always_has_something_to_do_does_not_keep_others_from_it() {
    let turns = on_worker(async || {
        let (mut client, mut server) = pair().await;
        spawn(async move { while client.write_all(&[7; 1024]).await.is_ok() {} });
        let read = Arc::new(AtomicUsize::new(0));
        let counter = read.clone();
        spawn(async move {
            let mut buf = [0; 16];
            while server.read(&mut buf).await.unwrap() > 0 {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut turns = 0;
        while read.load(Ordering::Relaxed) < 100_000 {
            sleep(Duration::from_millis(2)).await;
            turns += 1;
        }
        turns
    });
    assert!(turns > 3, "{turns}");
}

#[test]
fn other_threads_wake_a_task() {
    let sum = on_worker(async || {
        let (send, mut receive) = mpsc::channel(1);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let send = send.clone();
                thread::spawn(move || (0..1_000).for_each(|n| send.blocking_send(n).unwrap()))
            })
            .collect();
        drop(send);
        let mut sum = 0;
        while let Some(n) = receive.recv().await {
            sum += n;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        sum
    });
    assert_eq!(sum, 4 * 499_500);
}

#[test]
fn a_panic_ends_its_own_task_and_what_is_left_at_the_end_is_dropped() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = dropped.clone();
    on_worker(async move || {
        let (send, receive) = oneshot::channel::<()>();
        let (one, two, three) = (Dropped(counter.clone()), Dropped(counter.clone()), Dropped(counter));
        spawn(async move {
            let _both = (one, send);
            panic!("on purpose");
        });
        assert!(receive.await.is_err(), "the panic has dropped what the task had");
        spawn(async move {
            let _kept = two;
            std::future::pending().await
        });
        let (ended, end) = abortable(async move {
            let _kept = three;
            std::future::pending::<()>().await;
        });
        spawn(ended.map(drop));
        sleep(Duration::from_millis(5)).await;
        end.abort();
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_task_goes_on_as_another_when_what_it_had_is_gone() {
    let seen = on_worker(async || {
        let (send, receive) = oneshot::channel();
        let had = Arc::new(());
        let left = Arc::downgrade(&had);
        spawn(async move {
            // Kept until the task has ended, whatever it says before.
            let _had = had;
            sleep(Duration::from_millis(2)).await;
            go_on_as(async move {
                let first = left.upgrade().is_none();
                sleep(Duration::from_millis(2)).await;
                send.send(first).unwrap();
            });
        });
        receive.await.unwrap()
    });
    assert!(seen);
}

#[test]
fn a_time_that_is_over_ends_what_takes_longer_and_a_timer_can_be_set_anew() {
    on_worker(async || {
        let began = Instant::now();
        let waited = timeout(Duration::from_millis(30), std::future::pending::<()>()).await;
        assert!(waited == Err(Elapsed) && began.elapsed() >= Duration::from_millis(30));
        assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
        let mut alarm = sleep(Duration::from_secs(3600));
        assert!((&mut alarm).now_or_never().is_none());
        alarm.reset(Instant::now() + Duration::from_millis(10));
        alarm.await;
        assert!(sleep(Duration::MAX).now_or_never().is_none());
        sleep_until(began).await;
    });
}

#[test]
fn a_thread_carries_traffic_once() {
    thread::spawn(|| {
        let ran = Rc::new(Cell::new(false));
        let runs = ran.clone();
        run(async move { runs.set(true) }).unwrap();
        assert!(ran.get() && run(async {}).is_err());
    })
    .join()
    .unwrap();
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn timers_run_out_in_their_tick_whatever_turn_of_the_wheel_that_is() {
    let began = Instant::now();
    let mut timers = Timers::new(began);
    assert_eq!(timers.next(began), None);
    let at = |millis| began + Duration::from_millis(millis);
    // Within a turn, at its end, in the slot of another, many turns later.
    let dues = [1, 2, 3, 10, 4_000, 4_095, 4_096, 4_106, 8_202, 3_600_000];
    let added: Vec<_> = dues
        .map(|due| {
            let woken = Arc::new(Woken::default());
            (due, timers.add(at(due), &Waker::from(woken.clone())), woken)
        })
        .into_iter()
        .collect();
    timers.cancel(added[3].1);
    let mut now = 0;
    while now < 3_600_010 {
        // As the loop does: it waits until something may be due, or is woken before.
        let next = timers.next(at(now)).map_or(50, |next| u64::try_from(next.as_millis()).unwrap() + 1);
        now += next.min(777);
        timers.pass(at(now));
        for (n, (due, _, woken)) in added.iter().enumerate() {
            let (woken, is_cancelled) = (woken.0.load(Ordering::Relaxed), n == 3);
            assert!(woken == 0 || now >= *due, "{due} ran out early, at {now}");
            assert!(woken == 1 || is_cancelled || now <= due + 4, "{due} has not run out at {now}");
            assert!(!is_cancelled || woken == 0);
        }
    }
    // Half a year later it is known as exactly when the next one is due.
    const HALF_A_YEAR: u64 = 183 * 24 * 3_600_000;
    timers.pass(at(HALF_A_YEAR));
    timers.add(at(HALF_A_YEAR + 1_000), Waker::noop());
    let next = timers.next(at(HALF_A_YEAR)).unwrap();
    assert!(next >= Duration::from_millis(1_000) && next <= Duration::from_millis(1_004), "{next:?}");
    now = HALF_A_YEAR + 1_010;
    for (_, key, _) in &added {
        timers.cancel(*key);
    }
    timers.pass(at(now + 10_000));
    assert_eq!(timers.next(at(now + 10_000)), None);
}
