use super::*;

fn shown(response: &Response) -> Option<&str> {
    response.headers().get(header::LINK).map(|link| link.to_str().unwrap())
}

#[test]
fn a_page_ends_at_its_rows_or_its_bytes_and_names_the_next() {
    let uri: Uri = "/api/v1/routes?account=a%20b&limit=2&cursor=old".parse().unwrap();
    let page = Page::of(Listing::Routes, Some(2), None).unwrap();
    let key = |row: &String| row.clone();
    let rows = ["a", "b", "c"].map(str::to_owned);
    let answer = page.answer(&uri, &rows, key).unwrap();
    let link = shown(&answer).unwrap();
    let cursor = link.strip_prefix("</api/v1/routes?account=a%20b&limit=2&cursor=").unwrap();
    let cursor = cursor.strip_suffix(">; rel=\"next\"").unwrap();
    assert_eq!(Page::of(Listing::Routes, None, Some(cursor)).unwrap().after, "b");
    assert!(Page::of(Listing::Tokens, None, Some(cursor)).is_err(), "a cursor of one listing is none of another");
    assert_eq!(shown(&page.answer(&uri, &rows[..2], key).unwrap()), None);
    let large = ["x".repeat(PAGE_BYTES), "y".to_owned()];
    assert!(shown(&page.answer(&uri, &large, key).unwrap()).is_some());
}

#[test]
fn a_cursor_or_a_limit_that_is_none_of_ours_is_refused() {
    for cursor in ["", "r", "r6", "r6G", "t61", "rff", "%", "ä", &format!("r{}", "61".repeat(CURSOR_BYTES))] {
        let problem = Page::of(Listing::Routes, None, Some(cursor)).unwrap_err();
        assert_eq!((problem.status, &*problem.code), (400, "bad_query"), "{cursor}");
    }
    for limit in [0, PAGE_ROWS + 1] {
        assert!(Page::of(Listing::Routes, Some(limit), None).unwrap_err().detail.contains("limit is 1 to 1000"));
    }
}
