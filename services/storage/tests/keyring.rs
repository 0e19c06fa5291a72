//! What opens, and what must not.

use windhover_storage::{CryptoError, DataKey, Keyring, MasterKey, MasterKeyError};
use windhover_types::{Cipher, Secret, Tenant};

const PLACE: &[&str] = &["company.team", "DB_PASSWORD"];

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).expect("a tenant's name")
}

fn keyring_with(master: &MasterKey, tenants: &[&Tenant]) -> (Keyring, Vec<DataKey>) {
    let keyring = Keyring::new(master.clone());
    let keys: Vec<DataKey> = tenants.iter().map(|tenant| keyring.new_data_key(tenant, 1).expect("a key")).collect();
    for (tenant, key) in tenants.iter().zip(&keys) {
        keyring.add(tenant, std::slice::from_ref(key)).expect("a key of this master key");
    }
    (keyring, keys)
}

#[test]
fn a_value_opens_for_its_tenant_and_place_in_another_process() {
    let (master, acme) = (MasterKey::generate().unwrap(), tenant("acme"));
    let (keyring, keys) = keyring_with(&master, &[&acme]);
    let sealed = keyring.encrypt(&acme, PLACE, &Secret::new("pa\0ss ✓")).unwrap();
    assert!(!sealed.windows(2).any(|bytes| bytes == b"pa"));
    assert_ne!(sealed, keyring.encrypt(&acme, PLACE, &Secret::new("pa\0ss ✓")).unwrap(), "a nonce of its own");

    let later = Keyring::new(MasterKey::parse(&master.to_base64()).unwrap());
    assert_eq!(later.decrypt(&acme, PLACE, &sealed), Err(CryptoError::NoDataKey(1)));
    later.add(&acme, &keys).unwrap();
    assert_eq!(later.decrypt(&acme, PLACE, &sealed).unwrap().expose(), "pa\0ss ✓");
}

#[test]
fn a_value_opens_nowhere_else() {
    let master = MasterKey::generate().unwrap();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let (keyring, keys) = keyring_with(&master, &[&acme, &globex]);
    let sealed = keyring.encrypt(&acme, PLACE, &Secret::new("secret")).unwrap();

    assert_eq!(keyring.decrypt(&globex, PLACE, &sealed), Err(CryptoError::Tampered));
    for place in [&["company.team", "OTHER"][..], &["company.teamDB", "_PASSWORD"], &["company.team"]] {
        assert_eq!(keyring.decrypt(&acme, place, &sealed), Err(CryptoError::Tampered), "{place:?}");
    }
    // A tenant's wrapped key, moved to another tenant's row or number, is no key there.
    assert_eq!(keyring.add(&globex, &keys[..1]), Err(CryptoError::Tampered));
    assert_eq!(keyring.add(&acme, &[DataKey { id: 2, ..keys[0].clone() }]), Err(CryptoError::Tampered));
}

#[test]
fn any_changed_byte_is_noticed() {
    let (master, acme) = (MasterKey::generate().unwrap(), tenant("acme"));
    let (keyring, _) = keyring_with(&master, &[&acme]);
    let sealed = keyring.encrypt(&acme, PLACE, &Secret::new("secret")).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(keyring.decrypt(&acme, PLACE, &changed).is_err(), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert!(keyring.decrypt(&acme, PLACE, &sealed[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_wrong_master_key_is_told_at_once() {
    let acme = tenant("acme");
    let (keyring, keys) = keyring_with(&MasterKey::generate().unwrap(), &[&acme]);
    let other = Keyring::new(MasterKey::generate().unwrap());
    assert_eq!(other.add(&acme, &keys), Err(CryptoError::WrongMasterKey));
    let check = keyring.key_check().unwrap();
    assert_eq!(keyring.verify_check(&check), Ok(()));
    assert_eq!(other.verify_check(&check), Err(CryptoError::WrongMasterKey));
}

#[test]
fn keys_rotate_without_touching_values() {
    let (old, new, acme) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap(), tenant("acme"));
    let (keyring, keys) = keyring_with(&old, &[&acme]);
    let first = keyring.encrypt(&acme, PLACE, &Secret::new("first")).unwrap();
    let second_key = keyring.new_data_key(&acme, 2).unwrap();
    keyring.add(&acme, std::slice::from_ref(&second_key)).unwrap();
    let second = keyring.encrypt(&acme, PLACE, &Secret::new("second")).unwrap();
    assert_ne!(first[1..5], second[1..5], "the new data key encrypts");

    let rotated = Keyring::new(new.clone());
    let rewrapped: Vec<DataKey> =
        [&keys[0], &second_key].map(|key| keyring.rewrap(&acme, key, &new).unwrap()).into_iter().collect();
    rotated.add(&acme, &rewrapped).unwrap();
    assert_eq!(rotated.decrypt(&acme, PLACE, &first).unwrap().expose(), "first");
    assert_eq!(rotated.decrypt(&acme, PLACE, &second).unwrap().expose(), "second");
}

#[test]
fn what_is_no_master_key_is_refused_without_repeating_it() {
    for (text, error) in [("nonsense!", MasterKeyError::NotBase64), ("c2hvcnQ=", MasterKeyError::Length(5))] {
        let got = MasterKey::parse(&Secret::new(text)).unwrap_err();
        assert_eq!(got, error);
        assert!(!got.to_string().contains(text));
    }
    let master = MasterKey::generate().unwrap();
    let shown = format!("{master:?} {:?}", Keyring::new(master.clone()));
    assert!(!shown.contains(master.to_base64().expose()));
}

#[test]
fn values_of_executions_open_for_their_tenant_in_another_process_and_for_nobody_else() {
    let master = MasterKey::generate().unwrap();
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let (keyring, keys) = keyring_with(&master, &[&acme, &globex]);
    let cipher = keyring.of_tenant(&acme);
    let value = Secret::new("pa ss ✓");
    let sealed = cipher.seal(&value).unwrap();
    assert_ne!(sealed, cipher.seal(&value).unwrap(), "a key of its own");
    assert!(!format!("{cipher:?}").contains("pa ss"));

    let later = Keyring::new(MasterKey::parse(&master.to_base64()).unwrap());
    assert!(later.of_tenant(&acme).open(&sealed).is_err(), "its keys are not there yet");
    later.add(&acme, &keys[..1]).unwrap();
    assert_eq!(later.of_tenant(&acme).open(&sealed).unwrap(), Some(value));

    assert!(keyring.of_tenant(&globex).open(&sealed).is_err());
    let changed = sealed.replace(&sealed[40..44], "AAAA");
    assert!(cipher.open(&changed).is_err());
    for foreign in ["", "AAAA", "not base64 at all!", "bm9ib2R5IGhhcyBzZWFsZWQgdGhpcyBoZXJl"] {
        assert_eq!(cipher.open(foreign).unwrap(), None, "{foreign}");
    }
}
