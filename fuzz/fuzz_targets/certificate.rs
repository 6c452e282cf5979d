#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_chain::da::Certificate;

fuzz_target!(|data: &[u8]| {
    if let Ok(certificate) = Certificate::decode(data) {
        assert_eq!(certificate.encode(), data, "there is one way to encode");
        let again: Certificate = certificate.to_string().parse().expect("its text is read back");
        assert_eq!(again, certificate);
    }
    if let Some(certificate) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Certificate>().ok()) {
        assert_eq!(Certificate::decode(&certificate.encode()).expect("what was made decodes"), certificate);
    }
});
