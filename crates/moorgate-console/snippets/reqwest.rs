use std::{env, error::Error, fs};

use reqwest::{Certificate, Client, Proxy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut client = Client::builder().proxy(Proxy::all(env::var("MOORGATE_SHIELD_URL")?)?);
    if let Ok(ca) = env::var("MOORGATE_CA") {
        client = client.add_root_certificate(Certificate::from_pem(&fs::read(ca)?)?);
    }
    let response = client.build()?.get("http://echo.moorgate.internal/").send().await?;
    println!("{}", response.text().await?);
    Ok(())
}
