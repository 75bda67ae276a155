using System.Net;

var proxy = new Uri(Environment.GetEnvironmentVariable("MOORGATE_STATIC_URL")!);
var credential = proxy.UserInfo.Split(':', 2);
var handler = new HttpClientHandler {
    Proxy = new WebProxy($"http://{proxy.Host}:{proxy.Port}") {
        Credentials = new NetworkCredential(credential[0], credential[1]),
    },
};
Console.Write(await new HttpClient(handler).GetStringAsync("http://echo.moorgate.internal/"));
