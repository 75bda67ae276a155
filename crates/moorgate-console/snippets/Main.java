import java.net.*;
import java.net.http.*;

public class Main {
    public static void main(String[] args) throws Exception {
        // Java keeps the password from proxies of https:// destinations unless this is said before the first request.
        System.setProperty("jdk.http.auth.tunneling.disabledSchemes", "");
        var proxy = URI.create(System.getenv("MOORGATE_STATIC_URL"));
        var credential = proxy.getUserInfo().split(":", 2);
        var client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .authenticator(new Authenticator() {
                @Override
                protected PasswordAuthentication getPasswordAuthentication() {
                    // Only the proxy is to have it.
                    if (getRequestorType() != RequestorType.PROXY) return null;
                    return new PasswordAuthentication(credential[0], credential[1].toCharArray());
                }
            })
            .build();
        var request = HttpRequest.newBuilder(URI.create("http://echo.moorgate.internal/")).build();
        System.out.print(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
