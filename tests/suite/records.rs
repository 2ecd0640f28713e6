//! Zip archives in memory, as small as they get.

#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::io::Read;

/// An archive of these records, stored, with wrong checksums: readers of checkpoints must not mind.
pub fn stored(records: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in records {
        let offset = bytes.len() as u32;
        let sizes = [(content.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
        // Version, flags, method, time, date and checksum are 0.
        let common = [&[0u8; 14][..], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        bytes.extend([b"PK\x03\x04", &common[..], name.as_bytes(), content].concat());
        let rest = [&[0u8; 10][..], &offset.to_le_bytes(), name.as_bytes()].concat();
        directory.extend([b"PK\x01\x02\0\0", &common[..], &rest].concat());
    }
    let start = bytes.len() as u32;
    let count = (records.len() as u16).to_le_bytes();
    let length = (directory.len() as u32).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &start.to_le_bytes(), &[0; 2]].concat());
    bytes
}

/// Full names and contents of the records of an archive.
pub fn read(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    let mut records = Vec::new();
    for entry in archive.entries() {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
        let content = archive.get_entry(entry.wayfinder()).unwrap();
        let mut read = Vec::new();
        match entry.compression_method() {
            rawzip::CompressionMethod::DEFLATE => {
                flate2::read::DeflateDecoder::new(content.data()).read_to_end(&mut read).unwrap();
            }
            _ => read.extend(content.data()),
        }
        records.push((name, read));
    }
    records
}
