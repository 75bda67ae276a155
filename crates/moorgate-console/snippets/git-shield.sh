git -c http.proxy="$MOORGATE_SHIELD_URL" ${MOORGATE_CA:+-c http.proxySSLCAInfo="$MOORGATE_CA"} \
    ls-remote "https://git.example.com/repo.git"
