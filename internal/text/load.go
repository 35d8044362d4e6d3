package text

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Bounds of a directory of texts.
const (
	maxFiles    = 2000
	maxFileSize = 16 << 10 // bytes
	maxName     = 64       // characters of a text's name, as of a purpose
)

// FileError is one thing that is wrong in a directory of texts.
type FileError struct {
	File    string
	Line    int // from 1; 0 where it concerns the file as a whole
	Problem string
}

// Error is the file, its line and what is wrong there.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// Files reads a directory of texts, <locale>/<name>.txt, of any kind. It takes what is there in order, and gathers what is
// wrong with it.
type Files struct {
	// IsName says whether a text may be called so; NameRule is what a name is like, for people.
	IsName   func(name string) bool
	NameRule string
	// Take has a text, and returns what is wrong with it. file is what it is called in errors.
	Take func(tag, name, file, source string) []error

	files    int
	problems []error
}

// Err joins a *FileError for each thing that is wrong so far.
func (l *Files) Err() error { return errors.Join(l.problems...) }

func (l *Files) refuse(file, problem string) {
	l.problems = append(l.problems, &FileError{File: file, Problem: problem})
}

// Load reads a directory of locales. shown is what it is called in errors.
func (l *Files) Load(fsys fs.FS, shown string) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		l.refuse(shown, "can't be read: "+cause(err))
		return
	}
	for _, e := range entries {
		if passedOver(e.Name()) {
			continue
		}
		file := path.Join(shown, e.Name())
		info, err := fs.Stat(fsys, e.Name()) // follows a link, as a mounted volume may have them
		switch {
		case err != nil:
			l.refuse(file, "can't be read: "+cause(err))
		case !info.IsDir():
			l.refuse(file, "is no directory; texts are at <locale>/<name>.txt, like tr/login.txt")
		case !tagForm().MatchString(e.Name()):
			l.refuse(file, "is no locale; a directory is called like tr, pt-BR or zh-Hant")
		default:
			l.locale(fsys, e.Name(), file)
		}
	}
}

// locale reads the texts of one locale.
func (l *Files) locale(fsys fs.FS, tag, shown string) {
	entries, err := fs.ReadDir(fsys, tag)
	if err != nil {
		l.refuse(shown, "can't be read: "+cause(err))
		return
	}
	for _, e := range entries {
		if passedOver(e.Name()) {
			continue
		}
		file := path.Join(shown, e.Name())
		name, isText := strings.CutSuffix(e.Name(), ".txt")
		if l.files++; l.files > maxFiles {
			l.refuse(file, fmt.Sprintf("is one of more than %d texts", maxFiles))
			return
		}
		if !isText || name == "" || len(name) > maxName || !l.IsName(name) {
			l.refuse(file, "is no text's name; it is "+l.NameRule)
			continue
		}
		source, err := read(fsys, path.Join(tag, e.Name()))
		if err != nil {
			l.refuse(file, cause(err))
			continue
		}
		l.problems = append(l.problems, l.Take(tag, name, file, source)...)
	}
}

// passedOver says whether a file is left alone: hidden ones, what editors leave behind, and notes beside the texts.
func passedOver(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".md")
}

func read(fsys fs.FS, file string) (string, error) {
	info, err := fs.Stat(fsys, file)
	switch {
	case err != nil:
		return "", fmt.Errorf("can't be read: %s", cause(err))
	case !info.Mode().IsRegular(): // a pipe would never end
		return "", errors.New("is no file")
	case info.Size() > maxFileSize:
		return "", fmt.Errorf("is larger than %d bytes", maxFileSize)
	}
	content, err := fs.ReadFile(fsys, file)
	if err != nil {
		return "", fmt.Errorf("can't be read: %s", cause(err))
	}
	return string(content), nil
}

// cause is an error without the path that fs puts before it, which is shown already.
func cause(err error) string {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
