//! Certificates for a server of the loopback interface.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Files in the server's folder, made anew for each.
pub(super) struct Certificates {
    pub(super) ca: Vec<u8>,
    pub(super) ca_file: PathBuf,
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
}

impl Certificates {
    pub(super) fn make(folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(DnType::CommonName, "Windhover tests");
        let authority_key = KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let certificate = server.signed_by(&key, &issuer)?.pem();

        let write = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).map(|()| file)
        };
        Ok(Self {
            ca_file: write("ca.pem", &ca)?,
            certificate_file: write("server.pem", &certificate)?,
            key_file: write("server.key", &key.serialize_pem())?,
            ca: ca.into_bytes(),
        })
    }
}
