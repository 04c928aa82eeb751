//! `s3://`, configured by the environment alone: a child process reads from a server of this one.

use super::*;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Tells the child what to read and is absent in the parent.
const SOURCE: &str = "SEGMENTA_TEST_S3_SOURCE";

pub(super) fn trials() -> Vec<Trial> {
    named(&[("buckets", buckets)])
}

#[expect(clippy::disallowed_methods, reason = "the environment is what is tested")]
fn buckets() -> Outcome {
    if let Ok(source) = std::env::var(SOURCE) {
        let tables = open(&users(&source, ""), Path::new("/"))?;
        assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada | 2024", "2 | - | 2024"]);
        let text = refusal(open(&users("s3://data/none/", ""), Path::new("/")));
        expect_in(&text, &["`s3://data/none/` holds no file"]);
        return Ok(());
    }
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("users/year=2024/a b.parquet"), &people());
    write(&folder.path().join("users/year=2024/_SUCCESS"), "");
    let root = folder.path().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let root = root.clone();
            std::thread::spawn(move || answer(&root, &stream.unwrap()));
        }
    });
    for source in ["s3://data/users/", "s3://data/users/*/*.parquet"] {
        let child = Command::new(std::env::current_exe()?)
            .args(["--exact", "sources::buckets"])
            .env(SOURCE, source)
            .envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
            .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .output()?;
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
    }
    Ok(())
}

/// Answers one request for a key, or for the keys below a prefix, of the bucket `data`.
fn answer(root: &Path, mut stream: &TcpStream) {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let request = lines.next().unwrap();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    assert!(headers.iter().any(|header| header.starts_with("authorization: aws4-hmac-sha256")), "the request is not signed");
    let target = request.split(' ').nth(1).unwrap();
    let url = url::Url::parse("http://host").unwrap().join(target).unwrap();
    let key = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy().into_owned();
    let key = key.trim_start_matches("/data").trim_start_matches('/');
    let (mut status, mut body, mut range) = ("200 OK", Vec::new(), String::new());
    if key.is_empty() {
        let prefix = url.query_pairs().find(|(name, _)| name == "prefix").map(|(_, value)| value.into_owned()).unwrap_or_default();
        let keys = ["users/year=2024/_SUCCESS", "users/year=2024/a b.parquet"];
        let found = keys.iter().filter(|key| key.starts_with(&prefix)).map(|key| {
            let size = fs::metadata(root.join(key)).unwrap().len();
            format!("<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>")
        });
        let found = found.collect::<String>();
        body = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>").into_bytes();
    } else if let Ok(bytes) = fs::read(root.join(key)) {
        let total = bytes.len();
        body = bytes;
        if let Some(asked) = headers.iter().find_map(|header| header.strip_prefix("range: bytes=")) {
            let (from, to) = asked.split_once('-').unwrap();
            let (from, to) = (from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap());
            body = body[from..=to].to_vec();
            status = "206 Partial Content";
            range = format!("Content-Range: bytes {from}-{to}/{total}\r\n");
        }
    } else {
        status = "404 Not Found";
    }
    let length = body.len();
    let modified = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"1\"";
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{range}{modified}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    if !request.starts_with("HEAD") {
        stream.write_all(&body).unwrap();
    }
}
