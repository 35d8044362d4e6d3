package stories_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newerThan81 is what PHP 8.1 doesn't read, and the linter of a newer one does.
var newerThan81 = regexp.MustCompile(`(?m)readonly class|#\[\\?(Override|SensitiveParameter|AllowDynamicProperties)|json_validate\(|const (string|int|array|bool) [A-Z]|\): (true|false|null)\b|::\{`)

// Every PHP file is read by PHP, in the style of PSR-12, and guards itself as WHMCS asks.
func TestWHMCS_PHPIsWellFormed(t *testing.T) {
	t.Parallel()
	php := phpHere(t)
	var files []string
	for _, dir := range []string{modules, standin} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".php") || strings.HasSuffix(path, ".sample")) {
				files = append(files, path)
			}
			return err
		}))
	}
	require.Greater(t, len(files), 30)
	for _, file := range files {
		out, err := exec.CommandContext(t.Context(), php, "-l", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		text := read(t, file)
		require.NotRegexp(t, newerThan81, text, file)
		require.NotContains(t, text, "?>", file)
		if strings.HasPrefix(file, modules) {
			require.Contains(t, text, "if (!defined('WHMCS')) {\n    die(", file)
			require.True(t, strings.HasSuffix(file, ".sample") || strings.Contains(text, "\ndeclare(strict_types=1);\n"), file)
		}
	}
	t.Run("PSR-12", func(t *testing.T) {
		t.Parallel()
		phpcs, err := exec.LookPath("phpcs")
		if err != nil {
			t.Skip("NOT RUN: there is no phpcs here, so the style of the PHP files wasn't looked at")
		}
		cmd := exec.CommandContext(t.Context(), phpcs, "--standard=PSR12", "--extensions=php", "--report=emacs", modules, standin)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
}

// A file that is opened in the browser does nothing.
func TestWHMCS_FilesOpenedDirectlyDoNothing(t *testing.T) {
	t.Parallel()
	php := phpHere(t)
	require.NoError(t, filepath.WalkDir(modules, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".php") {
			return err
		}
		out, err := exec.CommandContext(t.Context(), php, path).CombinedOutput()
		require.Equal(t, "This file cannot be accessed directly", string(out), path)
		return err
	}))
}

// WHMCS may load addon and two-factor module in one request, and both are asked for a wabek_config.
func TestWHMCS_BothModulesInOneRequest(t *testing.T) {
	t.Parallel()
	php := phpHere(t)
	const addon, security = "require 'modules/addons/wabek/wabek.php';", "require 'modules/security/wabek/wabek.php';"
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(standin)))
	require.NoError(t, os.CopyFS(dir, os.DirFS(modules)))
	for code, want := range map[string][]string{
		addon:            {"name", "description", "version", "author", "language", "fields"},
		security:         {"FriendlyName", "ShortDescription", "Description"},
		addon + security: {"name", "description", "version", "author", "language", "fields", "FriendlyName", "ShortDescription", "Description"},
		security + addon: {"name", "description", "version", "author", "language", "fields", "FriendlyName", "ShortDescription", "Description"},
	} {
		cmd := exec.CommandContext(t.Context(), php, "-r", "require 'init.php';"+code+"echo implode(' ', array_keys(wabek_config()));")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want, strings.Fields(string(out)), code)
	}
}
