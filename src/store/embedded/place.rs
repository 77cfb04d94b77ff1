//! Which file of the embedded database is where, and that nobody else can get at its socket.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::StoreError;

/// The port that stands in the name of the clients' socket, as libpq wants it.
pub(super) const CLIENT_PORT: u16 = 5432;

/// The port that stands in the name of the engine's own socket.
const ENGINE_PORT: u16 = 5433;

/// The port that stands in the name of the host's socket to itself.
pub(super) const OWN_PORT: u16 = 5434;

/// The longest socket path that every system takes: macOS has 104 bytes, Linux 108.
const LONGEST_SOCKET_PATH: usize = 100;

/// Where the files of one data directory are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    data_dir: PathBuf,
    socket_folder: PathBuf,
}

impl Place {
    /// Creates the data directory where it is missing, and makes sure of the folder of the sockets.
    pub(super) fn prepare(data_dir: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| StoreError::files("cannot create", data_dir, source))?;
        let data_dir = fs::canonicalize(data_dir)
            .map_err(|source| StoreError::files("cannot find", data_dir, source))?;
        let socket_folder = socket_folder(&data_dir);
        make_private(&socket_folder)?;
        Ok(Self { data_dir, socket_folder })
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The engine's files.
    pub(super) fn database(&self) -> PathBuf {
        self.data_dir.join("database")
    }

    /// What the host process says.
    pub(super) fn log(&self) -> PathBuf {
        self.data_dir.join("database.log")
    }

    /// Locked by the host for as long as it lives; holds its process id.
    pub(super) fn host_lock(&self) -> PathBuf {
        self.data_dir.join("database.lock")
    }

    /// Locked by whoever starts a host.
    pub(super) fn start_lock(&self) -> PathBuf {
        self.data_dir.join("database.start.lock")
    }

    /// The folder of the sockets.
    pub(super) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// Where clients connect.
    pub(super) fn client_socket(&self) -> PathBuf {
        self.socket(CLIENT_PORT)
    }

    /// Where the relay connects to the engine.
    pub(super) fn engine_socket(&self) -> PathBuf {
        self.socket(ENGINE_PORT)
    }

    /// Where the host connects to itself, to make the database ready before anybody else comes.
    pub(super) fn own_socket(&self) -> PathBuf {
        self.socket(OWN_PORT)
    }

    fn socket(&self, port: u16) -> PathBuf {
        self.socket_folder.join(format!(".s.PGSQL.{port}"))
    }
}

/// Opens a lock file, without locking it.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| StoreError::files("cannot open", path, source))
}

/// In the data directory, so that a cron job and a terminal with different environments meet at
/// the same place; elsewhere only where that path is too long for a socket.
fn socket_folder(data_dir: &Path) -> PathBuf {
    let folder = data_dir.join("run");
    let longest = folder.as_os_str().len() + "/.s.PGSQL.5432".len();
    if longest <= LONGEST_SOCKET_PATH {
        return folder;
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_bytes());
    let name = digest.iter().take(8).fold(0_u64, |name, byte| name << 8 | u64::from(*byte));
    Path::new("/tmp").join(format!("aida-{name:016x}"))
}

/// Creates the folder, or makes sure that an existing one is ours and that nobody else can have
/// put anything into it.
fn make_private(folder: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StoreError::files("cannot create", folder, error)),
    }
    let not_private = || StoreError::NotPrivate { path: folder.to_owned() };
    let found = fs::symlink_metadata(folder)
        .map_err(|source| StoreError::files("cannot look at", folder, source))?;
    // The owner first, so that the mode of a stranger's folder is never relied on.
    if !found.is_dir() || found.uid() != own_user(folder)? || found.mode() & 0o022 != 0 {
        return Err(not_private());
    }
    if found.mode() & 0o077 != 0 {
        // A copy of the data directory may have lost the mode.
        fs::set_permissions(folder, Permissions::from_mode(0o700))
            .map_err(|source| StoreError::files("cannot close to others", folder, source))?;
    }
    Ok(())
}

/// The user that this process creates files as.
fn own_user(folder: &Path) -> Result<u32, StoreError> {
    let path = folder.join(format!(".owner-{}", uuid::Uuid::now_v7().simple()));
    let user = File::create_new(&path).and_then(|file| file.metadata()).map(|made| made.uid());
    match user {
        Ok(user) => {
            // A file that stays behind does no harm.
            let _ = fs::remove_file(&path);
            Ok(user)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(StoreError::NotPrivate { path: folder.to_owned() })
        }
        Err(error) => Err(StoreError::files("cannot write to", folder, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_data_directory_gets_a_short_socket() {
        let data_dir = PathBuf::from("/").join("long".repeat(40));
        let folder = socket_folder(&data_dir);
        assert!(folder.as_os_str().len() < 40, "{}", folder.display());
        assert_eq!(folder, socket_folder(&data_dir));
        assert_ne!(folder, socket_folder(&data_dir.join("other")));
    }

    #[test]
    fn the_socket_folder_is_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::prepare(&home.path().join("deep/data")).unwrap();
        let mode = || fs::metadata(place.socket_folder()).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        // A backup that was unpacked with everybody's right to read is mended.
        fs::set_permissions(place.socket_folder(), Permissions::from_mode(0o755)).unwrap();
        Place::prepare(place.data_dir()).unwrap();
        assert_eq!(mode(), 0o700);
        assert_eq!(fs::read_dir(place.socket_folder()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_could_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("run");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(make_private(&folder), Err(StoreError::NotPrivate { .. })));
        let link = home.path().join("link");
        let target = home.path().join("target");
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(make_private(&link), Err(StoreError::NotPrivate { .. })));
    }
}
