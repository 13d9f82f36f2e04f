//! Page tokens: any text, and a sound token that is damaged or taken to another list. What opens is
//! the one token of its position, in its merchant's own list.

use cryptopayment::domain::failure::Reason;
use cryptopayment::usecase::page_token::Binding;
use uuid::Uuid;

pub fn cursors(data: &[u8]) {
    let (head, position) = data.split_at(data.len().min(8));
    let mut seed = [0; 8];
    seed[..head.len()].copy_from_slice(head);
    let merchant = u128::from(u64::from_be_bytes(seed));
    let mine = Binding::of(Uuid::from_u128(merchant), "invoices", &Some(position.len() % 3));
    let text = String::from_utf8_lossy(data);
    check_any(mine, &text);

    let token = mine.encode(position);
    if token.len() <= 1_024 {
        assert_eq!(mine.decode(&token).expect("its own token"), position);
    }
    let others = [
        Binding::of(Uuid::from_u128(merchant ^ 1), "invoices", &Some(position.len() % 3)),
        Binding::of(Uuid::from_u128(merchant), "deliveries", &Some(position.len() % 3)),
        Binding::of(Uuid::from_u128(merchant), "invoices", &Some(position.len() % 3 + 1)),
    ];
    for other in others {
        let refused = other.decode(&token).expect_err("another list's token");
        assert_eq!(refused.reason, Reason::InvalidPageToken);
    }
    let order = i64::from_be_bytes(seed);
    let id = Uuid::from_u128(merchant.rotate_left(61));
    let row = mine.encode_row(order, id);
    assert_eq!(mine.decode_row(&row).expect("its own row"), (order, id));
    // A changed character is found by the binding, or leads to another position of the same list.
    let at = usize::from(seed[0]) % row.len();
    let mut wrong = row.into_bytes();
    wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
    check_any(mine, &String::from_utf8(wrong).expect("ASCII"));
}

/// A token that opens is written in one way only, and cannot be another list's.
fn check_any(binding: Binding, token: &str) {
    let Ok(position) = binding.decode(token) else { return };
    assert_eq!(binding.encode(&position), token, "two tokens for one position");
    if let Ok((order, id)) = binding.decode_row(token) {
        assert_eq!(binding.encode_row(order, id), token);
    }
}
