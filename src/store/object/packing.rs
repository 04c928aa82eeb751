//! The integers of Parquet's pages, packed: runs and groups of eight for positions in a dictionary, differences for lengths. The format
//! is that of the `RLE` and `DELTA_BINARY_PACKED` encodings.

/// Values of a block of differences.
const BLOCK: usize = 128;

/// Values of a block that share a width.
const MINIBLOCK: usize = 32;

/// Groups of eight that follow one header, which is one byte then.
const GROUPS: usize = 63;

/// The bits that a number needs.
pub(super) fn width_of(greatest: u32) -> u8 {
    // INVARIANT: at most 32.
    u8::try_from(u32::BITS - greatest.leading_zeros()).unwrap_or(u8::MAX)
}

/// The definition levels of a page in which every row has the same one, with their size before them.
pub(super) fn level_run(rows: usize, level: u8) -> Vec<u8> {
    let mut run = Vec::with_capacity(8);
    varint(u64::try_from(rows).unwrap_or(u64::MAX) << 1, &mut run);
    run.push(level);
    let mut bytes = u32::try_from(run.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.append(&mut run);
    bytes
}

/// Runs of numbers, of `width` bits each: long ones as runs, what stands between them in groups of eight.
pub(super) fn runs_packed(runs: &[(u32, usize)], width: u8, out: &mut Vec<u8>) {
    let mut single: Vec<u32> = Vec::new();
    for &(value, rows) in runs {
        // A run begins where a group ends.
        let fill = if single.is_empty() { 0 } else { rows.min(single.len().next_multiple_of(8) - single.len()) };
        let rest = rows - fill;
        if rest >= 8 {
            single.extend(std::iter::repeat_n(value, fill));
            groups_packed(&mut single, width, out);
            varint(u64::try_from(rest).unwrap_or(u64::MAX) << 1, out);
            out.extend_from_slice(&value.to_le_bytes()[..usize::from(width.div_ceil(8))]);
        } else {
            single.extend(std::iter::repeat_n(value, rows));
        }
    }
    groups_packed(&mut single, width, out);
}

/// Codes of rows, of `width` bits each: where many rows in a row have the same one, as a run.
pub(super) fn codes_packed(codes: &[u8], width: u8, out: &mut Vec<u8>) {
    let mut run = (0, 0);
    let end_run = |(code, rows): (u8, usize), out: &mut Vec<u8>| {
        if rows > 0 {
            varint(u64::try_from(rows).unwrap_or(u64::MAX) << 1, out);
            out.extend_from_slice(&[code][..usize::from(width.div_ceil(8))]);
        }
    };
    let mut numbers = Vec::with_capacity(8 * GROUPS);
    for part in codes.chunks(8 * GROUPS) {
        let (code, rows) = run;
        if part.iter().all(|other| *other == part[0]) {
            if rows > 0 && code == part[0] {
                run.1 += part.len();
            } else {
                end_run(run, out);
                run = (part[0], part.len());
            }
        } else {
            end_run(std::mem::take(&mut run), out);
            if width == 1 {
                single_bits(part, out);
                continue;
            }
            numbers.extend(part.iter().map(|code| u32::from(*code)));
            groups_packed(&mut numbers, width, out);
        }
    }
    end_run(run, out);
}

/// A part of at most [`GROUPS`] groups of codes that are 0 or 1, a bit for each.
fn single_bits(codes: &[u8], out: &mut Vec<u8>) {
    group_header(codes.len().div_ceil(8), out);
    out.extend(codes.chunks(8).map(|group| group.iter().rev().fold(0, |bits, code| bits << 1 | code)));
}

/// Packs numbers in groups of eight, and forgets them; what the last group lacks is 0, and no reader looks at it.
fn groups_packed(numbers: &mut Vec<u32>, width: u8, out: &mut Vec<u8>) {
    numbers.resize(numbers.len().next_multiple_of(8), 0);
    for groups in numbers.chunks(8 * GROUPS) {
        group_header(groups.len() / 8, out);
        bits_packed(groups, width, out);
    }
    numbers.clear();
}

fn group_header(groups: usize, out: &mut Vec<u8>) {
    varint((u64::try_from(groups).unwrap_or(u64::MAX) << 1) | 1, out);
}

/// Numbers one after the other from the lowest bit on; together they fill whole bytes.
fn bits_packed(numbers: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut bits, mut filled) = (0u64, 0u8);
    for &number in numbers {
        bits |= u64::from(number) << filled;
        filled += width;
        if filled >= 32 {
            let [a, b, c, d, ..] = bits.to_le_bytes();
            out.extend_from_slice(&[a, b, c, d]);
            bits >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..usize::from(filled.div_ceil(8))]);
}

/// Numbers as differences, in blocks of [`BLOCK`].
pub(super) fn delta_packed(numbers: &[i32], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINIBLOCK) as u64, out);
    varint(numbers.len() as u64, out);
    zigzag(numbers.first().copied().unwrap_or_default(), out);
    let mut deltas = [0i32; BLOCK];
    for start in (1..numbers.len()).step_by(BLOCK) {
        let block = &numbers[start - 1..numbers.len().min(start + BLOCK)];
        let count = block.len() - 1;
        // Plain loops: this is done for every id.
        let mut least = i32::MAX;
        for (delta, position) in deltas.iter_mut().zip(1..block.len()) {
            let difference = block[position].wrapping_sub(block[position - 1]);
            *delta = difference;
            least = least.min(difference);
        }
        zigzag(least, out);
        let mut above = [0u32; BLOCK];
        for (above, delta) in above.iter_mut().zip(&deltas[..count]) {
            *above = delta.wrapping_sub(least).cast_unsigned();
        }
        let widths = [0, 1, 2, 3].map(|part: usize| {
            let mut bits = 0;
            for delta in &above[part * MINIBLOCK..(part + 1) * MINIBLOCK] {
                bits |= delta;
            }
            width_of(bits)
        });
        out.extend_from_slice(&widths);
        for (part, width) in widths.into_iter().enumerate().take(count.div_ceil(MINIBLOCK)) {
            bits_packed(&above[part * MINIBLOCK..(part + 1) * MINIBLOCK], width, out);
        }
    }
}

fn zigzag(number: i32, out: &mut Vec<u8>) {
    varint(u64::from(((number << 1) ^ (number >> 31)).cast_unsigned()), out);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}
