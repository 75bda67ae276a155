<?php
$request = curl_init("http://echo.moorgate.internal/");
curl_setopt($request, CURLOPT_PROXY, getenv("MOORGATE_SHIELD_URL"));
if ($ca = getenv("MOORGATE_CA")) {
    curl_setopt($request, CURLOPT_PROXY_CAINFO, $ca);
}
curl_exec($request) || exit(curl_error($request) . "\n");
