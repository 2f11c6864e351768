//! [`Events`]: the stream of changes that [`super::Storage::watch`] gives, and the hub that feeds it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Key;

/// How many events wait for a slow reader before it is told to look at everything again.
const WAITING: usize = 1024;

/// A change in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Written(Key),
    /// The key was deleted.
    Deleted(Key),
    /// Events may have been lost: list and read everything again.
    Resync,
}

/// Changes, in the order in which they were seen.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
    lost: Arc<AtomicBool>,
}

impl Events {
    /// Waits for the next change; none once the storage is gone.
    pub async fn next(&mut self) -> Option<Event> {
        if self.lost.swap(false, Ordering::AcqRel) {
            return Some(Event::Resync);
        }
        self.receiver.recv().await
    }
}

/// Hands each event to those who watch its prefix.
#[derive(Debug, Default)]
pub(super) struct Hub {
    subscribers: Mutex<Vec<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    prefix: &'static str,
    sender: mpsc::Sender<Event>,
    lost: Arc<AtomicBool>,
}

impl Hub {
    pub(super) fn subscribe(&self, prefix: &'static str) -> Events {
        let (sender, receiver) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicBool::new(false));
        let subscriber = Subscriber { prefix, sender, lost: Arc::clone(&lost) };
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(subscriber);
        Events { receiver, lost }
    }

    pub(super) fn publish(&self, event: &Event) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| {
            let concerned = match event {
                Event::Written(key) | Event::Deleted(key) => key.as_str().starts_with(subscriber.prefix),
                Event::Resync => true,
            };
            if !concerned {
                return !subscriber.sender.is_closed();
            }
            match subscriber.sender.try_send(event.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    subscriber.lost.store(true, Ordering::Release);
                    true
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::keys;

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told_to_look_again() {
        let hub = Hub::default();
        let mut events = hub.subscribe(keys::CHALLENGES);
        hub.publish(&Event::Written(keys::failure("elsewhere")));
        for n in 0..=WAITING {
            hub.publish(&Event::Written(keys::challenge(&n.to_string())));
        }
        assert_eq!(events.next().await, Some(Event::Resync));
        assert_eq!(events.next().await, Some(Event::Written(keys::challenge("0"))));
        drop(hub);
        for _ in 1..WAITING {
            assert!(events.next().await.is_some());
        }
        assert_eq!(events.next().await, None);
    }
}
