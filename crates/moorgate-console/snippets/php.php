<?php
$request = curl_init("http://echo.moorgate.internal/");
curl_setopt($request, CURLOPT_PROXY, getenv("MOORGATE_STATIC_URL"));
curl_exec($request);
