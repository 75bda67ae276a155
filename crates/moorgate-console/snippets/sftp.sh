moorgate agent --via shield --map 2222=sftp.example.com:22 -- \
    sftp -P 2222 -o HostKeyAlias=sftp.example.com user@127.0.0.1
