# escape=`
FROM --platform=windows/amd64 mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["powershell", "-Command"]
RUN Write-Host `
    hello; `
    Write-Host C:\
COPY a b\
