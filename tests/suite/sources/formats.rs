//! Every format, and files of several side by side.

use super::*;

pub(super) fn trials() -> Vec<Trial> {
    named(&[
        ("parquet", parquet),
        ("arrow_files_and_streams", arrow_files_and_streams),
        ("csv", csv),
        ("ndjson", ndjson),
        ("formats_side_by_side", formats_side_by_side),
        ("http", http),
    ])
}

fn parquet() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("users.parquet"), &people());
    let tables = open(&users("users.parquet", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: integer", "name: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "2 | -"]);
    let url = format!("file://{}/users.parquet", folder.path().display());
    assert_eq!(rows(&open(&users(&url, ""), Path::new("/"))?, TableRole::Users), ["1 | Ada", "2 | -"]);
    Ok(())
}

fn arrow_files_and_streams() -> Outcome {
    let folder = TempDir::new()?;
    let people = people();
    for compression in [None, Some(arrow_ipc::CompressionType::LZ4_FRAME), Some(arrow_ipc::CompressionType::ZSTD)] {
        let options = arrow_ipc::writer::IpcWriteOptions::default().try_with_compression(compression)?;
        let path = folder.path().join("users.feather");
        let mut writer = arrow_ipc::writer::FileWriter::try_new_with_options(fs::File::create(&path)?, &people.schema(), options)?;
        writer.write(&people)?;
        writer.write(&people)?;
        writer.finish()?;
        let tables = open(&users("users.feather", ""), folder.path())?;
        assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada", "1 | Ada", "2 | -", "2 | -"]);
    }
    let mut writer =
        arrow_ipc::writer::StreamWriter::try_new(fs::File::create(folder.path().join("users.arrows"))?, &people.schema())?;
    writer.write(&people)?;
    writer.finish()?;
    assert_eq!(rows(&open(&users("users.arrows", ""), folder.path())?, TableRole::Users), ["1 | Ada", "2 | -"]);
    Ok(())
}

fn csv() -> Outcome {
    let folder = TempDir::new()?;
    write(&folder.path().join("u/1.csv"), "\u{feff}id,name,note\r\n1,Ada,\"a \"\"b\"\",\nc\"\r\n2,,x");
    write(&folder.path().join("u/2.csv"), "name,id\nBob,3\n");
    write(&folder.path().join("u/3.csv"), "id\n");
    let tables = open(&users("u", ""), folder.path())?;
    assert_eq!(columns(&tables), ["id: text", "name: text", "note: text"]);
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada | a \"b\",\nc", "2 | - | x", "3 | Bob | -"]);
    write(&folder.path().join("users.txt"), "id;name\n1;A,B\n");
    let tables = open(&users("users.txt", "format = \"csv\"\ndelimiter = \";\""), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | A,B"]);
    write(&folder.path().join("users.tsv"), "id\tname\n1\tA,B\n");
    assert_eq!(rows(&open(&users("users.tsv", ""), folder.path())?, TableRole::Users), ["1 | A,B"]);
    Ok(())
}

fn ndjson() -> Outcome {
    let folder = TempDir::new()?;
    let lines =
        "{\"id\":\"a\",\"age\":30,\"address\":{\"city\":\"Bonn\"},\"vip\":true}\n{\"id\":\"b\",\"age\":null,\"tags\":[1, \"x\"]}\n";
    write(&folder.path().join("users.ndjson"), lines);
    let tables = open(&users("users.ndjson", "columns = { late = \"integer\", age = \"integer\" }"), folder.path())?;
    assert_eq!(columns(&tables), ["id: text", "age: integer", "address: json", "vip: json", "tags: json", "late: integer"]);
    assert_eq!(rows(&tables, TableRole::Users), ["a | 30 | {\"city\":\"Bonn\"} | true | - | -", "b | - | - | - | [1, \"x\"] | -"]);
    Ok(())
}

fn formats_side_by_side() -> Outcome {
    let folder = TempDir::new()?;
    write_parquet(&folder.path().join("u/1.parquet"), &batch(vec![("id", texts(&["1"])), ("n", ints(&[5]))]));
    write(&folder.path().join("u/2.csv"), "n,id\n6,2\n");
    write(&folder.path().join("u/3.jsonl"), "{\"id\":\"3\",\"n\":7}\n");
    write(&folder.path().join("u/_SUCCESS"), "");
    write(&folder.path().join("u/.hidden.csv"), "x\n1\n");
    write(&folder.path().join("u/README.md"), "no data");
    let tables = open(&users("u", "columns = { n = \"integer\" }"), folder.path())?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | 5", "2 | 6", "3 | 7"]);
    assert_eq!(tables.files(TableRole::Users)?, 3);
    Ok(())
}

fn http() -> Outcome {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let body = "id,name\n1,Ada\n";
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let head = request[..length].starts_with(b"HEAD");
            let date = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"1\"\r\nConnection: close";
            let text = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            let answer = if text.contains("\nrange:") {
                format!("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{}/{}\r\n", body.len() - 1, body.len())
            } else {
                "HTTP/1.1 200 OK\r\n".to_owned()
            };
            let shown = if head { "" } else { body };
            write!(stream, "{answer}Content-Length: {}\r\n{date}\r\n\r\n{shown}", body.len()).unwrap();
        }
    });
    let tables = open(&users(&format!("http://{address}/data/users.csv"), ""), Path::new("/"))?;
    assert_eq!(rows(&tables, TableRole::Users), ["1 | Ada"]);
    Ok(())
}
