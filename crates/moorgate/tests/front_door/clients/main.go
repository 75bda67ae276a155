// Go's net/http through the proxy PROXY: one transport for each base URL given. With TRANSPORT=default it is the one that
// every program gets which sets up none, with nothing changed but which proxy it uses; it trusts SSL_CERT_FILE.
package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

func main() {
	proxy, err := url.Parse(os.Getenv("PROXY"))
	check(err)
	upload := bytes.Repeat([]byte("moorgate"), 125_000)
	for _, base := range os.Args[1:] {
		client := http.Client{Transport: transport(proxy)}
		ask(&client, "GET", base, "/hello", nil)
		ask(&client, "GET", base, "/hello", nil)
		ask(&client, "GET", base, "/bytes/1000000", nil)
		ask(&client, "POST", base, "/upload", bytes.NewReader(upload))
	}
}

func transport(proxy *url.URL) *http.Transport {
	if os.Getenv("TRANSPORT") == "default" {
		transport := http.DefaultTransport.(*http.Transport)
		// From the environment it would use none for localhost.
		transport.Proxy = http.ProxyURL(proxy)
		return transport
	}
	pem, err := os.ReadFile(os.Getenv("CA"))
	check(err)
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(pem)
	return &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: trust},
	}
}

func ask(client *http.Client, method, base, path string, body io.Reader) {
	request, err := http.NewRequest(method, base+path, body)
	check(err)
	answer, err := client.Do(request)
	check(err)
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	check(err)
	fmt.Printf("%s %s %d %x\n", method, path, answer.StatusCode, sha256.Sum256(content))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
