git -c http.proxy="$MOORGATE_STATIC_URL" ls-remote "https://git.example.com/repo.git"
