>f echo redirected
<f cat
