cat > conf <<'E'
# comment
key1 = value1
key2=value two

E
while IFS='=' read -r k v; do
  case $k in '' | \#*) continue ;; esac
  k=${k%% *}
  v=${v# }
  echo "[$k] [$v]"
done < conf
