//! One key taking another's place.

use alloc::sync::Arc;
use core::time::Duration;

use rand_core::TryCryptoRng;

use super::{Digester, IsRevoked, IssueError, Issued, Record, Status, UnixTime, issue::draw_key};

/// What a rotation is: the record of the old key, to be swapped in, and the new key with its record, to be inserted.
#[derive(Debug)]
pub struct Rotation<M = ()> {
    /// The old key's record, now with a time of retirement; its version is that of the record which it replaces.
    pub retired: Record<M>,
    /// The new key and its record.
    pub issued: Issued<M>,
}

impl<M: Clone> Record<M> {
    /// Makes a key that takes this one's place, and lets this one retire after `grace`, or at once if that is zero.
    ///
    /// The new key has the owner, family, tier, scopes, prefix, status and metadata of the old one, its expiry and the
    /// beginning of its validity. So no rotation makes anything valid for longer, or earlier, than it was before, enables
    /// what is disabled, or resets a limit. The old key retires at the end of the grace or at its expiry, whichever is first.
    ///
    /// Without I/O: to be stored in one transaction, or by a [`Keyring`](super::Keyring), which does it safely without.
    ///
    /// ```
    /// # use rand_core::SeedableRng;
    /// # let mut generator = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    /// use std::time::Duration;
    /// use tollgate::keys::{Digester, KeyError, NewKey, Prefix, UnixTime};
    ///
    /// let digester = Digester::plain();
    /// let old = NewKey::new(Prefix::literal("tg_live"), "acme").issue(&digester, &mut generator)?;
    ///
    /// let now = UnixTime::from_secs(1_700_000_000);
    /// let rotation = old.record.rotate(Duration::from_secs(60), now, &digester, &mut generator)?;
    ///
    /// // For a minute there are two keys, which share their limits.
    /// assert_eq!(rotation.issued.record.family, rotation.retired.family);
    /// let end = now + Duration::from_secs(60);
    /// assert_eq!(rotation.retired.usable(end), Err(KeyError::Expired { at: end }));
    /// assert_eq!(rotation.issued.record.usable(end), Ok(()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RotateError`] if the key is revoked, expired, or was rotated before, in which case its successor is the one to
    /// rotate; or if the generator fails.
    pub fn rotate<R>(
        &self,
        grace: Duration,
        now: UnixTime,
        digester: &Digester,
        generator: &mut R,
    ) -> Result<Rotation<M>, RotateError<R::Error>>
    where
        R: TryCryptoRng + ?Sized,
    {
        if self.status == Status::Revoked {
            return Err(IsRevoked.into());
        }
        if self.retires_at.is_some() {
            return Err(RotateError::Rotated);
        }
        if let Some(at) = self.expires_at.filter(|&at| at <= now) {
            return Err(RotateError::Expired { at });
        }
        let end = now + grace;
        let retires_at = Some(self.expires_at.map_or(end, |expiry| expiry.min(end)));
        let (key, digest) = draw_key(&self.prefix, digester, generator)?;
        let record = Record {
            id: key.id(),
            digest,
            version: 0,
            owner: Arc::clone(&self.owner),
            tier: Arc::clone(&self.tier),
            scopes: self.scopes.clone(),
            meta: self.meta.clone(),
            ..*self
        };
        Ok(Rotation { retired: Record { retires_at, ..self.clone() }, issued: Issued { key, record } })
    }
}

/// Why a key cannot be rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError<E> {
    /// It was revoked.
    #[error(transparent)]
    Revoked(#[from] IsRevoked),

    /// It has expired, and a rotation makes nothing valid again.
    #[error("the key expired at Unix time {}; issue another", at.as_secs())]
    Expired {
        /// The first second in which it was no longer valid.
        at: UnixTime,
    },

    /// Another key has taken its place already.
    #[error("the key was rotated before; rotate its successor")]
    Rotated,

    /// The generator failed.
    #[error(transparent)]
    Issue(#[from] IssueError<E>),
}
