#![allow(warnings, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
use caravan_events::*;
use rdkafka::{consumer::{BaseConsumer, Consumer}, message::{Headers, Message}, Offset, TopicPartitionList};
use worker_runtime::kafka::*;
use std::time::Duration;
use uuid::Uuid;
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let brokers = std::env::var("KAFKA_BROKERS").unwrap();
    match args[1].as_str() {
        // pay N [seed] [course-last-4] [synthetic]
        "pay" => {
            let producer = producer(&brokers).unwrap();
            let n: u128 = args[2].parse().unwrap();
            let seed: u128 = args.get(3).map_or(1, |s| s.parse().unwrap());
            let course = args.get(4).cloned().unwrap_or("c001".into());
            let synthetic = args.get(5).is_some();
            let fresh = std::env::var("FRESH_IDS").is_ok();
            let records: Vec<Record> = (0..n).map(|i| {
                let payment_id = Uuid::from_u128(seed << 64 | i);
                let mut e = Event::about(PurchaseConfirmed { payment_id, student_id: Uuid::from_u128(7), course_id: format!("00000000-0000-4000-8000-00000000{course}").parse().unwrap(), amount_cents: 100, currency: "EUR".into() }, payment_id, chrono::Utc::now());
                if fresh { e.event_id = Uuid::new_v4(); }
                Record::event("purchase-confirmed", &payment_id.to_string(), e.encode(), synthetic)
            }).collect();
            let t = std::time::Instant::now();
            for c in records.chunks(5000) { send_all(&producer, c).await.unwrap(); }
            println!("sent {n} in {:?}", t.elapsed());
        }
        "panic" => {
            let _g = worker_runtime::telemetry::init("PurchaseWorker").unwrap();
            worker_runtime::telemetry::started();
            tokio::spawn(async { let v: Vec<i32> = vec![]; let i = v.len(); if v[i] == 1 { println!("x"); } });
            tokio::time::sleep(Duration::from_secs(5)).await;
            println!("still here");
        }
        "probe" => { println!("{:?}", worker_runtime::health::probe().await); }
        "raw" => {
            let producer = producer(&brokers).unwrap();
            let value = if args[3] == "-" { None } else { Some(args[3].clone().into_bytes()) };
            let r = Record { topic: args[2].clone(), key: Some(b"k\xff".to_vec()), value, headers: synthetic_headers(args.get(4).is_some()) };
            send_all(&producer, &[r]).await.unwrap();
        }
        "dump" => {
            let c: BaseConsumer = rdkafka::ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "tool").set("enable.partition.eof","false").create().unwrap();
            let mut tpl = TopicPartitionList::new();
            for p in 0..3 { tpl.add_partition_offset(&args[2], p, Offset::Beginning).unwrap(); }
            c.assign(&tpl).unwrap();
            let quiet = args.get(3).is_some();
            let (mut n, mut keys) = (0, std::collections::HashSet::new());
            let mut last = std::time::Instant::now();
            while last.elapsed() < Duration::from_secs(2) {
                if let Some(Ok(m)) = c.poll(Duration::from_millis(200)) {
                    last = std::time::Instant::now(); n += 1;
                    keys.insert(m.payload().map(<[u8]>::to_vec));
                    if !quiet { println!("p{} o{} key={:?} value={:?}", m.partition(), m.offset(), m.key().map(|k| String::from_utf8_lossy(k).into_owned()), m.payload().map(|k| String::from_utf8_lossy(k).into_owned()));
                    if let Some(h) = m.headers() { for h in h.iter() { println!("    {}={:?}", h.key, h.value.map(|k| String::from_utf8_lossy(k).into_owned())); } } }
                }
            }
            println!("{n} messages, {} distinct values", keys.len());
        }
        "lag" => {
            for (topic, group) in [("purchase-confirmed","purchase-worker"),("purchase-created","allocation-worker"),("purchase-created","cache-worker"),("trainer-allocated","session-worker")] {
                let c: BaseConsumer = rdkafka::ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", group).create().unwrap();
                let mut tpl = TopicPartitionList::new();
                for p in 0..3 { tpl.add_partition(topic, p); }
                let off = c.committed_offsets(tpl, Duration::from_secs(5)).unwrap();
                let mut s = String::new();
                for e in off.elements() { let (lo, hi) = c.fetch_watermarks(topic, e.partition(), Duration::from_secs(5)).unwrap_or((-9,-9)); s += &format!(" p{}: {:?} of {lo}..{hi}", e.partition(), e.offset()); }
                println!("{group}: {s}");
            }
        }
        _ => panic!(),
    }
}
