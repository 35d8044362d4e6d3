// Package snippets has one small program in several languages: it sends an OTP, asks for it and verifies it. The pages of the
// documentation and of the console show them, and the tests run them.
//
// In: an API's address. Out: whole files for that address. On failure: nothing can fail; they are part of the program.
package snippets

import (
	"embed"
	"regexp"
	"strings"
)

// DefaultURL is the address that stands in the files.
const DefaultURL = "http://127.0.0.1:8080"

//go:embed otp.sh otp.php otp.py otp.mjs go/main.go
var files embed.FS

// Snippet is a program, whole in one file.
type Snippet struct {
	Language string // for people, like Python
	Fence    string // as Markdown calls it, like python
	File     string // its name within this folder, like otp.py
	Run      string // the command that runs it; the API key is in its environment as WABEK_API_KEY
	Needs    string // what must be there, like Python 3.8
	Text     string
}

// All are the snippets, for an API at an address like https://otp.example.org. Where that isn't an address that can stand in
// any of the languages, they are for DefaultURL.
func All(url string) []Snippet {
	list := []Snippet{
		{Language: "curl", Fence: "sh", File: "otp.sh", Run: "sh otp.sh +905551234567", Needs: "curl and a POSIX shell"},
		{Language: "PHP", Fence: "php", File: "otp.php", Run: "php otp.php +905551234567", Needs: "PHP 7.4 with its curl extension"},
		{Language: "Python", Fence: "python", File: "otp.py", Run: "python3 otp.py +905551234567", Needs: "Python 3.8, no packages"},
		{Language: "Node", Fence: "js", File: "otp.mjs", Run: "node otp.mjs +905551234567", Needs: "Node 18, no packages"},
		{Language: "Go", Fence: "go", File: "go/main.go", Run: "go run . +905551234567", Needs: "the folder client of wabek's source, which needs the standard library alone"},
	}
	url = strings.TrimRight(url, "/")
	if !regexp.MustCompile(`^https?://[A-Za-z0-9.\-:\[\]]+(/[A-Za-z0-9._~\-/]*)?$`).MatchString(url) {
		url = DefaultURL
	}
	for i := range list {
		text, err := files.ReadFile(list[i].File)
		if err != nil {
			panic(err) // they are part of the program
		}
		list[i].Text = strings.ReplaceAll(string(text), DefaultURL, url)
	}
	return list
}
