//! Places for callers that follow a film or wait for it: so many in all, and so many for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most at once.
const FOLLOWERS: usize = 512;
/// The most of one user.
const OF_A_USER: usize = 256;

/// The places.
#[derive(Debug)]
pub(super) struct Followers {
    places: Arc<Semaphore>,
    of_users: Mutex<HashMap<String, usize>>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    user: String,
    followers: Arc<Followers>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Followers {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(FOLLOWERS)), of_users: Mutex::default() }
    }
}

impl Followers {
    /// Takes a place for a user, if one is free.
    pub(super) fn take(self: &Arc<Self>, user: &str) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = of_users.entry(user.to_owned()).or_default();
        if *taken >= OF_A_USER {
            return None;
        }
        *taken += 1;
        Some(Place { user: user.to_owned(), followers: self.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_users = self.followers.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = of_users.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                of_users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_places_to_the_others() {
        let followers = Arc::new(Followers::default());
        let of_ada: Vec<_> = (0..OF_A_USER).map(|_| followers.take("ada").unwrap()).collect();
        assert!(followers.take("ada").is_none());
        assert!(followers.take("eve").is_some());
        drop(of_ada);
        assert!(followers.take("ada").is_some());
        assert!(followers.of_users.lock().unwrap().is_empty(), "nobody is remembered");
        assert_eq!(followers.places.available_permits(), FOLLOWERS);
    }
}
