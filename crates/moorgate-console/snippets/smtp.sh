moorgate agent --via shield --map 1587=smtp.example.com:587 -- \
    curl --url "smtp://smtp.example.com:587" --connect-to "smtp.example.com:587:127.0.0.1:1587" --ssl-reqd \
        --mail-from app@example.com --mail-rcpt you@example.com --upload-file mail.txt
