module github.com/breakerhttp/breakerhttp

go 1.26
