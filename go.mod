module github.com/watermaster-project/watermaster

go 1.26.8
