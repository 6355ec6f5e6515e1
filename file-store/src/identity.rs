//! What tells a folder from a later one of the same name.

use std::io;

use crate::Folder;

/// What tells a folder from every other one on its disk, also after it was renamed. A copy has another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number of its inode, which another folder may have later.
    pub inode: u64,
    /// When it was made, in nanoseconds; 0 where the file system does not say it.
    pub born: i128,
}

impl Folder {
    /// What tells this folder from every other one.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn identity(&self) -> io::Result<Identity> {
        let inode = self.inode()?;
        let born = self.born()?;
        Ok(Identity { inode, born })
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use crate::Folder;

    #[test]
    fn a_folder_is_told_from_a_later_one_of_its_name() {
        let place = tempfile::tempdir().unwrap();
        let store = Folder::open(place.path()).unwrap();
        let first = store.make("a").unwrap().identity().unwrap();
        assert_eq!(store.enter("a").unwrap().identity().unwrap(), first);
        store.rename("a", "b").unwrap();
        assert_eq!(store.enter("b").unwrap().identity().unwrap(), first);
        let other = store.make("a").unwrap().identity().unwrap();
        assert_ne!(other, first);
    }
}
