//! The signs of currencies.

use crate::domain::money::Currency;
use crate::domain::party::Locale;

/// The sign of a currency, or nothing where only its code is clear. A sign that several currencies
/// share is given to one of them, the others carry their country's letters (Unicode CLDR).
pub(super) fn sign(locale: Locale, currency: Currency) -> &'static str {
    match currency.code() {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" => "¥",
        "CNY" => "CN¥",
        "INR" => "₹",
        "KRW" => "₩",
        "VND" => "₫",
        "TRY" => "₺",
        "UAH" => "₴",
        "RUB" => "₽",
        "ILS" => "₪",
        "NGN" => "₦",
        "PHP" => "₱",
        "KZT" => "₸",
        "GEL" => "₾",
        "CRC" => "₡",
        "BRL" => "R$",
        "AUD" => "A$",
        "CAD" => "CA$",
        "NZD" => "NZ$",
        "HKD" => "HK$",
        "MXN" => "MX$",
        "TWD" => "NT$",
        "CZK" => "Kč",
        "PLN" if matches!(locale, Locale::Pl) => "zł",
        _ => "",
    }
}
