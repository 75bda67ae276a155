let client = reqwest::Client::builder()
    .proxy(reqwest::Proxy::all(std::env::var("MOORGATE_SHIELD_URL")?)?)
    .build()?;
println!("{}", client.get("http://echo.moorgate.internal/").send().await?.text().await?);
