//! Sharing an amount so that the parts add up to it exactly: the method of the largest remainder.

use std::cmp::Reverse;

/// Whole parts that add up to `target`, each `numerators[i] / denominator` rounded down or up: all
/// are rounded down, then those with the largest remainders get one more, the first one on a tie.
/// `target` lies less than one unit from the exact sum, `denominator` is positive.
pub(super) fn apportion(target: i128, numerators: &[i128], denominator: i128) -> Vec<i128> {
    let mut parts: Vec<i128> = numerators
        .iter()
        .map(|n| n.div_euclid(denominator))
        .collect();
    let missing = target - parts.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&at| Reverse(numerators[at].rem_euclid(denominator)));
    for at in order
        .into_iter()
        .take(usize::try_from(missing).unwrap_or(0))
    {
        parts[at] += 1;
    }
    parts
}

/// Splits `amount` in proportion to the positive ones of `weights`; the others get nothing. `None`
/// when there is something to split and nobody to take it, or when it does not fit.
pub(super) fn split(amount: i128, weights: &[i128]) -> Option<Vec<i128>> {
    if amount == 0 {
        return Some(vec![0; weights.len()]);
    }
    let weights: Vec<i128> = weights.iter().map(|&weight| weight.max(0)).collect();
    let sum = weights.iter().sum::<i128>();
    if sum == 0 {
        return None;
    }
    let numerators = weights
        .iter()
        .map(|weight| weight.checked_mul(amount))
        .collect::<Option<Vec<_>>>()?;
    Some(apportion(amount, &numerators, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_and_a_tie_goes_to_the_first() {
        assert_eq!(split(100, &[1, 1, 1]), Some(vec![34, 33, 33]));
        assert_eq!(split(5, &[10, 20, 70]), Some(vec![1, 1, 3]));
        assert_eq!(split(1, &[1, 99]), Some(vec![0, 1]));
    }

    #[test]
    fn only_positive_weights_take_part() {
        assert_eq!(split(10, &[-50, 30, 0, 70]), Some(vec![0, 3, 0, 7]));
        assert_eq!(split(10, &[-50, 0]), None);
        assert_eq!(split(0, &[-50, 0]), Some(vec![0, 0]));
    }

    #[test]
    fn exact_parts_of_either_sign_are_rounded_so_that_they_meet_the_target() {
        // 0.5 + 0.5 - 0.5 = 0.5, rounded to 1.
        assert_eq!(apportion(1, &[1, 1, -1], 2), vec![1, 1, -1]);
        assert_eq!(apportion(0, &[1, -1], 2), vec![1, -1]);
    }
}
