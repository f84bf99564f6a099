//! TLS from PEM files' contents.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::api::Pems;
use crate::error::{Error, Result};

/// What accepts TLS with these certificates, and speaks HTTP/2 over it.
pub fn acceptor(pems: &Pems) -> Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("cert", &error))?;
    let builder = match &pems.client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("ca", authorities)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong("ca", &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| wrong("ca", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates("cert", &pems.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&pems.key).map_err(|error| wrong("key", &error))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| wrong("key", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(field, &"no certificate in it")),
        Err(error) => Err(wrong(field, &error)),
    }
}

fn wrong(field: &'static str, cause: &dyn ToString) -> Error {
    Error::Tls {
        field,
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_named() {
        let pems = Pems {
            certificates: b"no pem".to_vec(),
            key: Vec::new(),
            client_authorities: None,
        };

        let refused = acceptor(&pems).err();

        assert!(matches!(refused, Some(Error::Tls { field: "cert", .. })));
    }
}
